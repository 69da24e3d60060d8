//! A state that is gathered from every entry of a prefix and then written.

mod output;
mod writing;

use std::borrow::Cow;
use std::fmt;

use futures_util::stream::{self, StreamExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Job;
use super::count::{Until, count};
use super::hash::HashKey;
use super::record::{AtEntry, Record};
use super::resumable::{Advance, Resumable};
use super::values::{LargeValues, Loaded, load_entries};
use super::walk::{Loading, Position, Range, Visited, Walk, WalkEnd, over_budget};
use crate::error::{BoxError, Result};
use crate::kv::limits::MAX_CONNECTIONS;
use crate::kv::{Key, Kv, KvError, StoreExt, parse_json};
use crate::report::Phase;
pub use output::FoldOutput;
use output::entry_hash;
use writing::Writing;

/// Gathers a state from each entry whose key begins with a prefix, in the order of the keys, and writes what follows from
/// it at the end: an index, a sum.
///
/// It first counts the keys, one operation for every 1,000, and ends at the last one that it counted, so that a service
/// that adds entries does not keep it going.
///
/// Checkpoints keep the state, as JSON of at most 25 MiB. It must come back from JSON as it was: its maps need keys that are
/// text, and its numbers must be finite. That is checked at the first entry and after the last one. A checkpoint holds the
/// state and the position together in one value of KV: no crash makes an entry count twice or not at all, even if an old
/// checkpoint is read. Entries that KV does not list yet do not count.
///
/// # Example
/// ```
/// use kv_migrations::{Fold, Migration, Runner, FoldOutput, kv::MemoryStore};
/// use std::collections::BTreeMap;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// type Index = BTreeMap<String, Vec<String>>;
///
/// let by_customer = Fold::new(
///     "mod_",
///     Index::new,
///     |index: &mut Index, record, _: &()| {
///         let customer = record.text()?.to_owned();
///         index.entry(customer).or_default().push(record.name().to_owned());
///         Ok(())
///     },
///     |index, _| index.iter().map(|(customer, mods)| FoldOutput::json(format!("mods_of_{customer}"), mods)).collect(),
/// );
/// let migration = Migration::fold("004_index", "Index all mods by customer", by_customer);
///
/// let store = MemoryStore::new();
/// store.insert("mod_1", "ada");
/// store.insert("mod_2", "ada");
/// Runner::new(store.clone(), "my-service", vec![migration])?.run_pending(&()).await?;
/// assert_eq!(store.value("mods_of_ada").unwrap(), br#"["mod_1","mod_2"]"#);
/// # Ok(())
/// # }
/// # futures::executor::block_on(example()).unwrap();
/// ```
pub struct Fold<C, S> {
    prefix: Cow<'static, str>,
    initial: Box<dyn Fn() -> S + Send + Sync>,
    each: Box<Each<C, S>>,
    close: Box<Close<C, S>>,
}

type Each<C, S> = dyn Fn(&mut S, &Record, &C) -> Result + Send + Sync;
type Close<C, S> = dyn Fn(&S, &C) -> Result<Vec<FoldOutput>> + Send + Sync;

impl<C, S> Fold<C, S> {
    /// Begins with `initial()`, calls `each` for one entry after the other, and writes what `close` returns for the final
    /// state: over several requests if necessary.
    ///
    /// `close` is called again by each request that writes, and must return the same for the same state. If it returns
    /// something else, because you have changed it, the fold writes its outputs again, and deletes what it wrote before and
    /// no longer produces. At the third difference it fails. If more than 10,000 keys are written by then, it fails at the
    /// first.
    pub fn new(
        prefix: impl Into<Cow<'static, str>>,
        initial: impl Fn() -> S + Send + Sync + 'static,
        each: impl Fn(&mut S, &Record, &C) -> Result + Send + Sync + 'static,
        close: impl Fn(&S, &C) -> Result<Vec<FoldOutput>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            prefix: prefix.into(),
            initial: Box::new(initial),
            each: Box::new(each),
            close: Box::new(close),
        }
    }
}

/// What a checkpoint keeps.
#[derive(Serialize, Deserialize)]
pub(crate) struct FoldState<S> {
    folded: S,
    /// Required: a state without it, of another build, would be gathered from the first entry once more.
    #[serde(deserialize_with = "Option::deserialize")]
    until: Until,
    position: Position,
    /// How far the outputs are written, once everything is gathered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    writing: Option<Writing>,
    /// Whether no checkpoint can keep it.
    #[serde(skip)]
    is_unusable: bool,
    /// Whether `each` failed, perhaps after it had changed it.
    #[serde(skip)]
    is_half_changed: bool,
}

impl<S: Serialize + DeserializeOwned> FoldState<S> {
    fn check(&mut self) -> Result {
        let result = check_state(&self.folded);
        self.is_unusable = result.is_err();
        result
    }
}

impl<C, S: Serialize + DeserializeOwned> Fold<C, S> {
    async fn gather(&self, job: &mut Job<'_>, context: &C, state: &mut FoldState<S>) -> Result<WalkEnd> {
        let (session, large_values) = (job.session(), LargeValues::new());
        let load = |keys| -> Loading<'_, _> {
            Box::pin(async move { Ok::<_, BoxError>(load_entries(&session.kv, keys).await?) })
        };
        let work = |operations, key, loaded| {
            read_record(session.kv.for_entry(operations), &large_values, key, loaded)
        };
        let until = state.until.clone();
        let range = Range { prefix: &self.prefix, until: until.as_deref() };
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

    async fn write(&self, job: &mut Job<'_>, context: &C, state: &mut FoldState<S>) -> Result<WalkEnd> {
        let mut outputs = (self.close)(&state.folded, context)?;
        // In an order that does not depend on how this request iterated over a map.
        outputs.sort_by(|one, other| one.key.cmp(&other.key));
        if let Some((twice, _)) =
            outputs.iter().zip(outputs.iter().skip(1)).find(|(one, next)| one.key == next.key)
        {
            return Err(format!("the key `{}` would be written twice", twice.key).into());
        }
        let session = job.session();
        let Some(writing) = &mut state.writing else { return Ok(WalkEnd::Complete) };
        writing.resume(&outputs, job.id())?;
        let done = writing.done;
        if done == 0 {
            job.begin_phase(Phase::Write, Some(outputs.len() as u64));
        }
        let store = session.kv.store();
        let mut is_first = true;
        for some in outputs.get(done..).unwrap_or_default().chunks(MAX_CONNECTIONS) {
            if !is_first && session.meter.left() < MAX_CONNECTIONS as u64 {
                return Ok(WalkEnd::Paused);
            }
            let puts = some.iter().map(|output| store.put(&output.key, &output.value, &output.options));
            let results: Vec<_> = stream::iter(puts).buffered(MAX_CONNECTIONS).collect().await;
            if let Some(writing) = &mut state.writing {
                writing.note(some, &results);
            }
            let written = results.iter().take_while(|result| result.is_ok()).count();
            job.add_done(written as u64);
            is_first &= written == 0;
            if let Some(ended) = first_error(job, results) {
                return ended;
            }
            let left = state.writing.as_ref().map(|writing| outputs.len().saturating_sub(writing.done));
            job.save_if_due(state, left).await?;
        }
        self.withdraw(job, &outputs, state).await
    }

    /// Deletes what was written and is no longer produced, where nothing else was written since.
    async fn withdraw(
        &self,
        job: &mut Job<'_>,
        outputs: &[FoldOutput],
        state: &mut FoldState<S>,
    ) -> Result<WalkEnd> {
        let session = job.session();
        let mut is_first = true;
        while let Some(writing) = &mut state.writing {
            let stale = writing.stale(outputs, MAX_CONNECTIONS);
            if stale.is_empty() {
                break;
            }
            // A read and a deletion each.
            if !is_first && session.meter.left() < 2 * MAX_CONNECTIONS as u64 {
                return Ok(WalkEnd::Paused);
            }
            is_first = false;
            let key = writing.key;
            let deletions = stale.iter().map(|(name, hashes)| delete_if_ours(&session.kv, key, name, hashes));
            let results: Vec<_> = stream::iter(deletions).buffered(MAX_CONNECTIONS).collect().await;
            for ((name, _), result) in stale.iter().zip(&results) {
                if result.is_ok() {
                    writing.forget(name);
                    job.note_advance();
                }
            }
            if let Some(ended) = first_error(job, results) {
                return ended;
            }
            job.save_if_due(state, None).await?;
        }
        Ok(WalkEnd::Complete)
    }
}

/// How the fold ends at the first error of some operations, if there is one.
fn first_error(job: &Job<'_>, results: Vec<Result<(), KvError>>) -> Option<Result<WalkEnd>> {
    let error = results.into_iter().find_map(Result::err)?;
    let is_overdrawn = job.session().meter.is_overdrawn();
    Some(if is_overdrawn { Ok(over_budget(job)) } else { Err(error.into()) })
}

/// Deletes an entry if it is what a fold wrote.
async fn delete_if_ours(kv: &Kv, key: HashKey, name: &str, hashes: &[u64]) -> Result<(), KvError> {
    match kv.get(name).await? {
        Some(entry) if hashes.contains(&entry_hash(key, name, &entry.value, entry.metadata.as_ref())) => {
            kv.delete(name).await
        }
        _ => Ok(()),
    }
}

/// Whether a checkpoint could keep the state. Only a fold over many entries needs checkpoints, but one over a few, in a
/// test, tells it too.
fn check_state<S: Serialize + DeserializeOwned>(state: &S) -> Result {
    /// A larger state is not read back, which takes memory.
    const MAX_BYTES: usize = 1024 * 1024;
    let json = serde_json::to_vec(state)
        .map_err(|_| "its state cannot be written as JSON: its maps need keys that are text")?;
    if json.len() > MAX_BYTES {
        return Ok(());
    }
    let why = match parse_json::<S>(&json) {
        Err(error) => {
            format!("what was written is {error}. Numbers must be finite: JSON has `null` for others")
        }
        // The entries of a map or a set may change places.
        Ok(read) if serde_json::to_vec(&read).is_ok_and(|again| again.len() == json.len()) => return Ok(()),
        Ok(_) => "it is another one when it is read".to_owned(),
    };
    Err(format!("its state does not come back from JSON, in which checkpoints keep it: {why}").into())
}

/// The entry with its value; `None` if it was deleted in the meantime.
async fn read_record(kv: Kv, large_values: &LargeValues, key: Key, loaded: Loaded) -> Result<Option<Record>> {
    let name = key.name.clone();
    let value = large_values.with_value(&kv, &name, loaded, async |value| Ok::<_, BoxError>(value)).await?;
    Ok(value.map(|value| Record::new(&kv, key, value)))
}

impl<C, S: Serialize + DeserializeOwned> Resumable<C> for Fold<C, S> {
    type State = FoldState<S>;

    fn kind(&self) -> &'static str {
        "fold"
    }

    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn begin(&self, job: &mut Job<'_>) -> FoldState<S> {
        job.begin_phase(Phase::Count, None);
        FoldState {
            folded: (self.initial)(),
            until: None,
            position: Position::default(),
            writing: None,
            is_unusable: false,
            is_half_changed: false,
        }
    }

    async fn advance(&self, job: &mut Job<'_>, context: &C, state: &mut FoldState<S>) -> Result<Advance> {
        let mut end = WalkEnd::Complete;
        if state.until.is_none() {
            end = count(job, &self.prefix, state, |state| (&mut state.until, &mut state.position)).await?;
        }
        if end == WalkEnd::Complete && state.writing.is_none() {
            end = match self.gather(job, context, state).await {
                Err(error) if state.is_unusable => return Ok(Advance::Lost(error)),
                Err(error) if state.is_half_changed => return Ok(Advance::Undone(error)),
                end => end?,
            };
        }
        if end == WalkEnd::Complete {
            state.writing.get_or_insert_with(|| Writing::new(HashKey::new(job.session().random)));
            end = self.write(job, context, state).await?;
        }
        Ok(match end {
            WalkEnd::Complete | WalkEnd::Stopped => Advance::Done(Vec::new()),
            WalkEnd::Paused => Advance::Paused,
            WalkEnd::Stuck => {
                Advance::Stuck { what: "not one step could be made within", instead: "spend less before it" }
            }
        })
    }
}

impl<C, S> fmt::Debug for Fold<C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fold").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
