//! Gathers the state of a fold from its entries, and drives the fold.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::json;
use crate::change::Job;
use crate::change::count::{Until, count};
use crate::change::record::{AtEntry, Record};
use crate::change::resumable::{Advance, Resumable};
use crate::change::selection::Selection;
use crate::change::values::LargeValues;
use crate::change::walk::{Loading, Position, Range, Scope, Visited, Walk, WalkEnd};
use crate::error::{BoxError, Result};
use crate::kv::parse_json;
use crate::report::{MigrationKind, Phase};

/// From which entries a fold gathers its state, and how.
pub(super) struct Gathering<C, S> {
    pub(super) selection: Selection,
    pub(super) initial: Box<dyn Fn() -> S + Send + Sync>,
    pub(super) each: Box<Each<C, S>>,
}

pub(super) type Each<C, S> = dyn Fn(&mut S, &Record, &C) -> Result + Send + Sync;

/// What a fold does once everything is gathered: it asks for the outputs and writes them.
pub(super) trait Closing<C, S>: Send + Sync {
    /// The kind of the fold: it resumes only from checkpoints of its own kind.
    const KIND: &'static str;

    /// How far the outputs are written.
    type Writing: Serialize + DeserializeOwned;

    /// Before anything is written.
    fn begin(job: &Job<'_>) -> Self::Writing;

    /// Writes as far as the budget allows.
    async fn write(
        &self,
        gathering: &Gathering<C, S>,
        job: &mut Job<'_>,
        context: &C,
        state: &mut FoldState<S, Self::Writing>,
    ) -> Result<Advance>;
}

/// What a checkpoint keeps. `W` says how far the outputs are written.
#[derive(Serialize, Deserialize)]
#[serde(bound(
    serialize = "S: Serialize, W: Serialize",
    deserialize = "S: DeserializeOwned, W: DeserializeOwned"
))]
pub(super) struct FoldState<S, W> {
    #[serde(with = "json")]
    pub(super) folded: S,
    until: Until,
    position: Position,
    /// Once everything is gathered.
    pub(super) writing: Option<W>,
    /// Whether no checkpoint can keep it.
    #[serde(skip)]
    is_unusable: bool,
    /// Whether `each` failed, perhaps after it had changed it.
    #[serde(skip)]
    is_half_changed: bool,
}

/// A fold as a change.
pub(super) struct FoldChange<C, S, K> {
    pub(super) gathering: Gathering<C, S>,
    pub(super) closing: K,
}

impl<S: Serialize + DeserializeOwned, W> FoldState<S, W> {
    fn check(&mut self) -> Result {
        let result = check_state(&self.folded);
        self.is_unusable = result.is_err();
        result
    }
}

impl<C, S: Serialize + DeserializeOwned> Gathering<C, S> {
    async fn gather<W: Serialize>(
        &self,
        job: &mut Job<'_>,
        context: &C,
        state: &mut FoldState<S, W>,
    ) -> Result<WalkEnd> {
        let (session, large_values) = (job.session(), LargeValues::new());
        let kv = self.selection.scope.kv(session);
        let load = |keys| -> Loading<'_, _> { Box::pin(self.selection.load(&kv, keys)) };
        let work = |operations, key, loaded| {
            self.selection.read_record(kv.for_entry(operations), &large_values, key, loaded)
        };
        let until = state.until.clone();
        let range = Range { scope: &self.selection.scope, until: until.as_deref() };
        let mut walk = Walk::new(session, range, &state.position);
        let mut failed: Option<BoxError> = None;
        let result = async {
            while let Some(visited) = walk.next(load, work).await? {
                if let Visited::Entry(Some(record)) = visited {
                    if let Err(error) = (self.each)(&mut state.folded, &record, context) {
                        failed = Some(AtEntry { name: record.name().to_owned(), source: error }.into());
                        return Ok(WalkEnd::Stopped);
                    }
                    job.add_done(1);
                    if job.done_in_phase() == 1 {
                        state.check()?;
                    }
                }
                state.position.set(walk.position());
                let left = walk.entries_left();
                walk.during(job.save_if_due(state, left)).await?;
            }
            Ok(walk.end())
        }
        .await;
        let end = walk.finish(job, result).await?;
        if let Some(error) = failed {
            state.is_half_changed = true;
            return Err(error);
        }
        if end == WalkEnd::Complete {
            state.check()?;
        }
        Ok(end)
    }
}

/// Whether a checkpoint could keep the state. Only a fold over many entries needs checkpoints, but one over a few, in a
/// test, tells it too.
fn check_state<S: Serialize + DeserializeOwned>(state: &S) -> Result {
    /// A larger state is not read back, which takes memory.
    const MAX_BYTES: usize = 1024 * 1024;
    let json = json::to_text(state, MAX_BYTES)
        .ok_or("its state cannot be written as JSON: its maps need keys that are text")?;
    if json.is_empty() {
        return Ok(());
    }
    let why = match parse_json::<S>(json.as_bytes()) {
        Err(error) => {
            format!("what was written is {error}. Numbers must be finite: JSON has `null` for others")
        }
        // The entries of a map or a set may change places.
        Ok(read) if json::to_text(&read, MAX_BYTES).is_some_and(|again| again.len() == json.len()) => {
            return Ok(());
        }
        Ok(_) => "it is another one when it is read".to_owned(),
    };
    Err(format!("its state does not come back from JSON, in which checkpoints keep it: {why}").into())
}

impl<C, S: Serialize + DeserializeOwned, K: Closing<C, S>> Resumable<C> for FoldChange<C, S, K> {
    const KIND: MigrationKind = MigrationKind::Fold;

    type State = FoldState<S, K::Writing>;

    /// A state is in memory as a value, and in a checkpoint as JSON, beside the checkpoint before.
    const MAX_CHECKPOINT_BYTES: usize = 10 * 1024 * 1024;

    fn kind(&self) -> &'static str {
        K::KIND
    }

    fn scope(&self) -> &Scope {
        &self.gathering.selection.scope
    }

    fn begin(&self, job: &mut Job<'_>) -> Self::State {
        job.begin_phase(Phase::Count, None);
        FoldState {
            folded: (self.gathering.initial)(),
            until: None,
            position: Position::default(),
            writing: None,
            is_unusable: false,
            is_half_changed: false,
        }
    }

    async fn advance(&self, job: &mut Job<'_>, context: &C, state: &mut Self::State) -> Result<Advance> {
        let mut end = WalkEnd::Complete;
        if state.until.is_none() {
            let range = Range::all(&self.gathering.selection.scope);
            end = count(job, range, state, |state| (&mut state.until, &mut state.position)).await?;
        }
        if end == WalkEnd::Complete && state.writing.is_none() {
            end = match self.gathering.gather(job, context, state).await {
                Err(error) if state.is_unusable => return Ok(Advance::Lost(error)),
                Err(error) if state.is_half_changed => return Ok(Advance::Undone(error)),
                end => end?,
            };
        }
        if end != WalkEnd::Complete {
            return Ok(advance(end));
        }
        state.writing.get_or_insert_with(|| K::begin(job));
        self.closing.write(&self.gathering, job, context, state).await
    }
}

/// How far a fold got whose walk or writes ended so.
pub(super) fn advance(end: WalkEnd) -> Advance {
    match end {
        WalkEnd::Complete | WalkEnd::Stopped => Advance::Done(Vec::new()),
        WalkEnd::Paused => Advance::Paused,
        WalkEnd::Stuck => {
            Advance::Stuck { what: "not one step could be made within", instead: "spend less before it" }
        }
    }
}
