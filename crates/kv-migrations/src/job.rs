//! What a change works with: its handle on KV, its budget, and its checkpoint, which outlives the request.

use std::cell::{Cell, RefCell};
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::clock::{between, iso8601, milliseconds_between, parse_iso8601};
use crate::error::Error;
use crate::event::Event;
use crate::kv::Kv;
use crate::kv::limits::MAX_VALUE_BYTES;
use crate::ledger::{Found, MARKER_PREFIX};
use crate::migration::{BoxError, Result};
use crate::progress::{Direction, Progress};
use crate::run::Run;

/// How much time passes between two checkpoints at least: more for a large one.
const BETWEEN_CHECKPOINTS: Duration = Duration::from_secs(2);
/// Between two reports of progress.
const BETWEEN_REPORTS: Duration = Duration::from_secs(1);

/// One change, in one request.
pub(crate) struct Job<'a> {
    run: &'a Run<'a>,
    id: &'a str,
    direction: Direction,
    /// Which way it was going when its marker was written, as far as that is known.
    marker: Cell<Option<Direction>>,
    /// Of what change the checkpoints are: its kind, and the prefix that it goes over. Empty for one that has none.
    of: RefCell<String>,
    start: SystemTime,
    operations_before: u64,
    /// What earlier requests took.
    before: Cell<Before>,
    /// As it is, but for what the job counts itself.
    progress: RefCell<Progress>,
    /// The entries that this request did.
    done: Cell<u64>,
    has_got_further: Cell<bool>,
    /// The entries that are left of those that it walks over, once that is known.
    left: Cell<Option<usize>>,
    /// When the marker was written last, and how large it was.
    written: Cell<Option<SystemTime>>,
    bytes: Cell<usize>,
    reported: Cell<SystemTime>,
    /// The checkpoint to fail with: as far as it has got, or as far as it is known to have got.
    last: Cell<Option<(Vec<u8>, Box<Progress>)>>,
}

/// What the requests before this one took.
#[derive(Clone, Copy, Default)]
struct Before {
    requests: u64,
    operations: u64,
    duration_ms: u64,
}

impl Before {
    fn of(progress: &Progress) -> Self {
        let Progress { requests, operations, duration_ms, .. } = *progress;
        Self { requests, operations, duration_ms }
    }
}

/// What a checkpoint's value holds. The marker's metadata has the [`Progress`].
#[derive(Serialize, Deserialize)]
struct Saved<T> {
    of: String,
    checkpoint: T,
}

/// The value of a checkpoint that there is nothing to carry on from.
const NOTHING: &[u8] = br#"{"of":"","checkpoint":null}"#;

/// Where a change begins.
pub(crate) enum Load<T> {
    /// At the beginning.
    Fresh,
    /// Where an earlier request left off.
    From(T),
    /// Nowhere: another run has made it.
    AlreadyApplied,
}

impl<'a> Job<'a> {
    /// `marker` is the way in which the marker says that it is going, if it is.
    pub(crate) fn new(
        run: &'a Run<'a>,
        id: &'a str,
        direction: Direction,
        marker: Option<Direction>,
    ) -> Self {
        let start = run.now();
        let progress = Progress { direction, started_at: iso8601(start), ..Progress::default() };
        Self {
            run,
            id,
            direction,
            marker: Cell::new(marker),
            of: RefCell::default(),
            start,
            operations_before: run.operations(),
            before: Cell::default(),
            progress: RefCell::new(progress),
            done: Cell::new(0),
            has_got_further: Cell::new(false),
            left: Cell::new(None),
            written: Cell::new(None),
            bytes: Cell::new(0),
            reported: Cell::new(start),
            last: Cell::new(None),
        }
    }

    pub(crate) fn id(&self) -> &'a str {
        self.id
    }

    /// The handle for the change itself, within the budget.
    pub(crate) fn kv(&self) -> &'a Kv {
        &self.run.kv
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.run.now()
    }

    /// Whether a key is a marker, of this service or another: those are no data, unless they are asked for.
    pub(crate) fn is_marker(&self, key: &str, prefix: &str) -> bool {
        let is_asked_for = prefix.starts_with(MARKER_PREFIX);
        key.starts_with(MARKER_PREFIX) && (!is_asked_for || key.starts_with(&self.run.ledger.key("")))
    }

    /// Where an earlier request left off, if that is `of` the same change. One operation.
    pub(crate) async fn load<T: DeserializeOwned>(&self, of: String) -> Result<Load<T>> {
        self.of.replace(of);
        let found = self.run.ledger.look(self.id).await.map_err(|error| match error {
            Error::Ledger(error) => BoxError::from(error),
            error => error.into(),
        })?;
        let (value, progress) = match found {
            Found::Checkpoint(value, progress) => (value, progress),
            Found::Applied if self.direction == Direction::Up => return Ok(Load::AlreadyApplied),
            Found::Applied | Found::Nothing => return Ok(Load::Fresh),
        };
        self.written.set(parse_iso8601(&progress.checkpoint_at));
        self.marker.set(Some(progress.direction));
        if progress.direction != self.direction || value == NOTHING {
            return Ok(Load::Fresh);
        }
        let saved =
            serde_json::from_slice::<Saved<T>>(&value).ok().filter(|saved| saved.of == *self.of.borrow());
        let saved = saved.ok_or_else(|| {
            let key = self.run.ledger.key(self.id);
            format!(
                "its checkpoint cannot be read: it was written by another form of this migration, or for another \
                 prefix, or its state does not come back from JSON as it was. Give it the form that it had; or delete \
                 the key `{key}`, and it begins anew"
            )
        })?;
        self.bytes.set(value.len());
        self.before.set(Before::of(&progress));
        self.progress.replace(Progress::clone(&progress));
        self.last.set(Some((value, progress)));
        Ok(Load::From(saved.checkpoint))
    }

    /// Says what is done now, and of how many entries, if that is known.
    pub(crate) fn begin_phase(&self, phase: &'static str, total: Option<u64>) {
        let mut progress = self.progress.borrow_mut();
        progress.phase = phase.into();
        progress.done = 0;
        progress.total = total;
    }

    /// Says what is done now, of the entries that were counted before.
    pub(crate) fn name_phase(&self, phase: &'static str) {
        self.progress.borrow_mut().phase = phase.into();
    }

    /// Says how many entries are done already as a new phase begins.
    pub(crate) fn set_done(&self, entries: u64) {
        self.progress.borrow_mut().done = entries;
    }

    /// Counts entries that are done, and reports that from time to time.
    pub(crate) fn add_done(&self, entries: u64) {
        self.done.set(self.done.get() + entries);
        if entries > 0 {
            self.note_step();
        }
        self.progress.borrow_mut().done += entries;
        let now = self.now();
        if is_past(self.reported.get(), BETWEEN_REPORTS, now) {
            self.reported.set(now);
            self.run.tell(Event::Progress { id: self.id, progress: &self.progress() });
        }
    }

    /// Notes that a step was made, which the next request need not make again.
    pub(crate) fn note_step(&self) {
        self.has_got_further.set(true);
    }

    pub(crate) fn has_got_further(&self) -> bool {
        self.has_got_further.get()
    }

    /// Notes how many entries are left, if that is known.
    pub(crate) fn note_left(&self, entries: Option<usize>) {
        self.left.set(entries);
    }

    pub(crate) fn set_failed(&self, entries: usize) {
        self.progress.borrow_mut().failed = entries as u64;
    }

    pub(crate) fn done(&self) -> u64 {
        self.progress.borrow().done
    }

    /// How far it has got by now.
    #[allow(clippy::unnecessary_box_returns, reason = "whoever keeps it has it boxed")]
    pub(crate) fn progress(&self) -> Box<Progress> {
        let (before, now) = (self.before.get(), self.now());
        let milliseconds = milliseconds_between(self.start, now);
        Box::new(Progress {
            requests: before.requests + 1,
            operations: before.operations + self.operations(),
            duration_ms: before.duration_ms + milliseconds,
            entries_per_second: self.done.get() * 1000 / milliseconds.max(1),
            ..self.progress.borrow().clone()
        })
    }

    /// The operations of this request.
    pub(crate) fn operations(&self) -> u64 {
        self.run.operations() - self.operations_before
    }

    /// Whether as many operations as this can still be made, and there is time.
    pub(crate) fn can_afford(&self, operations: u64) -> bool {
        self.run.spending.left() >= operations
    }

    /// Whether an operation was refused because the budget is used up.
    pub(crate) fn is_overdrawn(&self) -> bool {
        self.run.spending.is_overdrawn()
    }

    /// That the budget does not suffice, and what to do about it.
    pub(crate) fn over_budget(&self, what: &str, instead: &str) -> String {
        let budget = self.run.spending.budget();
        let (operations, seconds) = (budget.operations(), budget.seconds());
        let refused = self.run.refusals().map_or_else(String::new, |(number, last)| {
            format!(". KV refused {number} operations, which were tried again after pauses; the last: {last}")
        });
        format!(
            "{what} the {operations} KV operations and {seconds} seconds that one request may take: {instead}, or give \
             the runner a larger budget, if the Worker may make more operations{refused}"
        )
    }

    /// Whether enough time has passed since the last checkpoint.
    pub(crate) fn is_checkpoint_due(&self) -> bool {
        const BYTES_A_SECOND: usize = 256 * 1024;
        let seconds = u64::try_from(self.bytes.get() / BYTES_A_SECOND).unwrap_or(0);
        let now = self.now();
        // One of another clock can lie in the future.
        let written = self.written.get().filter(|written| (self.start..=now).contains(written));
        is_past(written.unwrap_or(self.start), BETWEEN_CHECKPOINTS + Duration::from_secs(seconds), now)
            && !self.is_nearly_done(now)
    }

    /// Whether what is left takes less time than a checkpoint: the marker cannot be written again as soon as that.
    fn is_nearly_done(&self, now: SystemTime) -> bool {
        let Some(left) = self.left.get() else { return false };
        let between = u64::try_from(self.run.ledger.between_writes.as_millis()).unwrap_or(u64::MAX);
        milliseconds_between(self.start, now).saturating_mul(left as u64)
            < between.saturating_mul(self.done.get())
    }

    /// Records how far it has got, durably.
    pub(crate) async fn save(&self, checkpoint: &impl Serialize) -> Result {
        let value = encode(&self.of.borrow(), checkpoint)?;
        self.save_value(value).await
    }

    async fn save_value(&self, value: Vec<u8>) -> Result {
        self.bytes.set(value.len());
        self.wait_for_marker().await;
        let progress = self.checkpoint_progress();
        self.run.ledger.record_running(self.id, &value, &progress).await?;
        self.written.set(Some(self.now()));
        self.progress.borrow_mut().checkpoint_at.clone_from(&progress.checkpoint_at);
        self.last.set(Some((value, progress)));
        Ok(())
    }

    /// Records that a rollback begins, before anything is undone: from then on the migration is not applied. And that
    /// it goes the other way than before: no later run may carry on from what that one left.
    pub(crate) async fn announce(&self, checkpoint: &impl Serialize) -> Result {
        if self.direction == Direction::Down || self.turns_around() {
            self.save(checkpoint).await
        } else {
            Ok(())
        }
    }

    /// The same for a change without checkpoints, which begins a rollback with nothing recorded.
    pub(crate) async fn announce_turn(&self) -> Result {
        if self.turns_around() { self.save_value(NOTHING.to_vec()).await } else { Ok(()) }
    }

    fn turns_around(&self) -> bool {
        self.marker.get().is_some_and(|marker| marker != self.direction)
    }

    /// Keeps how far it has got, to be recorded with the failure that it is about to return.
    pub(crate) fn stash(&self, checkpoint: &impl Serialize) {
        let value = encode(&self.of.borrow(), checkpoint);
        if let Ok(value) = value {
            self.last.set(Some((value, self.checkpoint_progress())));
        }
    }

    /// How far it had got when it failed; none if that is not known.
    pub(crate) fn last_checkpoint(&self) -> Option<(Vec<u8>, Box<Progress>)> {
        self.last.take()
    }

    #[allow(clippy::unnecessary_box_returns, reason = "whoever keeps it has it boxed")]
    fn checkpoint_progress(&self) -> Box<Progress> {
        let mut progress = self.progress();
        progress.checkpoint_at = iso8601(self.now());
        progress
    }

    /// Until the marker can be written again.
    pub(crate) async fn wait_for_marker(&self) {
        let Some(written) = self.written.get() else { return };
        let passed = between(written, self.now());
        if let Some(left) = self.run.ledger.between_writes.checked_sub(passed).filter(|left| !left.is_zero())
        {
            self.run.sleep(left).await;
        }
    }
}

fn is_past(since: SystemTime, duration: Duration, now: SystemTime) -> bool {
    between(since, now) >= duration
}

fn encode(of: &str, checkpoint: &impl Serialize) -> Result<Vec<u8>> {
    let value = serde_json::to_vec(&Saved { of: of.to_owned(), checkpoint })
        .map_err(|_| "its state cannot be written as JSON: its maps need keys that are text")?;
    let bytes = value.len();
    if bytes > MAX_VALUE_BYTES {
        let limit = MAX_VALUE_BYTES;
        return Err(format!(
            "its state has grown to {bytes} bytes as JSON, and a checkpoint holds {limit}: fold less into one \
             migration, for instance a part of the keys in each"
        )
        .into());
    }
    Ok(value)
}
