//! One change in one request: what it works with, how far it has got, and its checkpoints.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::checkpoint::{Checkpoints, Start};
use super::progress::ProgressCounter;
use super::schedule::{self, Left, RequestEnd, Work};
use crate::error::Result;
use crate::future::BoxFuture;
use crate::kv::KvError;
use crate::ledger::Checkpoint;
use crate::report::{Direction, EntryCounts, Event, Phase, Progress};
use crate::session::Session;

/// What a single step may need in a request: the checkpoint, two lists where the request before stopped at the end of a page,
/// reads in bulk, and a few operations of an entry.
const STEP_OPERATIONS: u64 = 12;

/// One change in one request.
pub(crate) struct Job<'a> {
    session: &'a Session<'a>,
    id: &'a str,
    direction: Direction,
    progress: ProgressCounter,
    checkpoints: Checkpoints<'a>,
    /// How many keys it left out because they begin like markers.
    left_out: u64,
    /// Whether KV no longer knew the cursor of its checkpoint.
    has_lost_cursor: bool,
}

impl<'a> Job<'a> {
    /// `marker` is the direction that the migration's marker names, if it holds a checkpoint.
    pub(crate) fn new(
        session: &'a Session<'a>,
        id: &'a str,
        direction: Direction,
        marker: Option<Direction>,
    ) -> Self {
        let progress = ProgressCounter::new(direction, session.now(), session.operations());
        let checkpoints = Checkpoints::new(session, id, direction, marker);
        Self { session, id, direction, progress, checkpoints, left_out: 0, has_lost_cursor: false }
    }

    pub(crate) fn id(&self) -> &'a str {
        self.id
    }

    pub(crate) fn direction(&self) -> Direction {
        self.direction
    }

    pub(crate) fn session(&self) -> &'a Session<'a> {
        self.session
    }

    /// Loads the checkpoint of this change, if there is one. One operation.
    pub(super) async fn load<S: DeserializeOwned>(
        &mut self,
        change: String,
        max_bytes: usize,
    ) -> Result<Start<S>> {
        let start = self.checkpoints.load(change, max_bytes).await?;
        if let (Start::Resumed(_), Some(progress)) = (&start, self.checkpoints.progress()) {
            self.progress.resume(progress);
        }
        Ok(start)
    }

    /// Begins a phase, of this many entries if the number is known.
    pub(super) fn begin_phase(&mut self, phase: Phase, total: Option<u64>) {
        self.progress.begin_phase(phase, total, self.session.now(), self.session.operations());
    }

    /// Names the phase, and keeps the number of its entries.
    pub(super) fn set_phase(&mut self, phase: Phase) {
        self.progress.set_phase(phase);
    }

    /// Sets how many entries are done already as a phase begins.
    pub(super) fn set_done(&mut self, entries: u64) {
        self.progress.set_done(entries);
    }

    pub(super) fn set_failed(&mut self, entries: usize) {
        self.progress.set_failed(entries);
    }

    /// What became of the entries in this request.
    pub(crate) fn entries(&self) -> EntryCounts {
        self.progress.entries()
    }

    /// Counts entries that the phases do not count by themselves.
    pub(super) fn add_entries(&mut self, entries: EntryCounts) {
        self.progress.add_entries(entries);
    }

    /// Counts entries that are done, and reports progress from time to time.
    pub(super) fn add_done(&mut self, entries: u64) {
        self.progress.add_done(entries);
        if self.progress.is_report_due(self.session.now()) {
            let progress = self.progress();
            self.session.notify(&Event::Progress { id: self.id.to_owned(), progress });
        }
    }

    /// The entries that are done in this phase.
    pub(super) fn done_in_phase(&self) -> u64 {
        self.progress.done_in_phase()
    }

    pub(super) fn set_left_out(&mut self, keys: u64) {
        self.left_out = keys;
    }

    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Notes that KV no longer knew the cursor of the checkpoint, so that all keys are listed from the first one.
    pub(super) fn note_lost_cursor(&mut self) {
        self.has_lost_cursor = true;
    }

    /// What did not fit into the budget of a request that got nowhere.
    pub(super) fn first_step(&self) -> &'static str {
        if self.has_lost_cursor {
            "KV forgets where its lists are: to list all keys again up to the last one that is done takes more than"
        } else {
            "not one step could be made within"
        }
    }

    /// Notes a step that the next request need not repeat.
    pub(super) fn note_advance(&mut self) {
        self.progress.note_advance();
    }

    /// Whether this request has made a step that the next one need not repeat.
    pub(super) fn has_advanced(&self) -> bool {
        self.progress.has_advanced()
    }

    /// Whether this request got nowhere with a whole budget. Then the next one would not either.
    pub(super) fn is_stuck(&self) -> bool {
        !self.has_advanced() && !self.session.meter.is_held_back()
    }

    /// The text of an error for a step that does not fit into the budget. `what` is too large; `instead` says what to do.
    pub(super) fn over_budget(&self, what: &str, instead: &str) -> String {
        let (meter, before) = (&self.session.meter, self.progress.operations_before());
        let missing = (before + STEP_OPERATIONS).saturating_sub(meter.cap());
        if missing == 0 {
            return self.session.over_budget(what, instead);
        }
        let operations = meter.budget().operations();
        let least = operations + missing;
        format!(
            "its budget of {operations} KV operations is too small: reading the markers takes {before} of them, and a single \
             step up to {STEP_OPERATIONS} more. Set at least {least} with `Budget::with_operations`, if the Worker may make \
             as many"
        )
    }

    /// How far the change has got by now.
    #[allow(clippy::unnecessary_box_returns, reason = "every caller keeps it in a box")]
    pub(crate) fn progress(&self) -> Box<Progress> {
        self.progress.snapshot(self.session.now(), self.session.operations())
    }

    /// Whether it is time for a checkpoint.
    pub(super) fn is_checkpoint_due(&self, left: Option<usize>) -> bool {
        let (session, now) = (self.session, self.session.now());
        let rest = || {
            let done = self.progress.done_in_phase_of_request(now, session.operations());
            let (operations, time) = (session.meter.left_at(now), session.meter.time_left(now));
            schedule::rest(done, Left { entries: left.map(|left| left as u64), operations, time })
        };
        self.checkpoints.is_due(self.progress.start(), now, rest)
    }

    /// Saves a checkpoint if it is time for one. The caller has done a step that the next request need not repeat. `left`
    /// is the number of entries that are left, if it is known.
    pub(super) async fn save_if_due(&mut self, state: &impl Serialize, left: Option<usize>) -> Result {
        if self.is_checkpoint_due(left) { self.save_midway(state).await } else { Ok(()) }
    }

    /// Saves a checkpoint if a request could be cut off amid this many operations, which come next, and nothing would be
    /// left of it. The caller has done a step that the next request need not repeat.
    pub(super) async fn save_before(&mut self, state: &impl Serialize, operations: usize) -> Result {
        let operations = operations as u64;
        let rest = || Some(Work { entries: operations, operations, time: Duration::ZERO });
        let is_due = self.checkpoints.is_due(self.progress.start(), self.session.now(), rest);
        if is_due { self.save_midway(state).await } else { Ok(()) }
    }

    /// Saves a checkpoint durably, with which the request ends.
    pub(super) async fn save(&mut self, state: &impl Serialize) -> Result {
        self.save_with(state, RequestEnd::InOrder).await
    }

    /// Saves a checkpoint durably. The request goes on.
    pub(super) async fn save_midway(&mut self, state: &impl Serialize) -> Result {
        self.save_with(state, RequestEnd::Unknown { operations: self.session.operations() }).await
    }

    async fn save_with(&mut self, state: &impl Serialize, end: RequestEnd) -> Result {
        self.wait_for_marker().await;
        let progress = self.progress();
        self.checkpoints.save(state, progress, end).await?;
        self.note_checkpoint();
        Ok(())
    }

    fn note_checkpoint(&mut self) {
        if let Some(saved) = self.checkpoints.progress() {
            self.progress.note_checkpoint(&saved.checkpoint_at);
        }
    }

    /// Records that a rollback begins, before anything is undone: from then on the migration is not applied. Likewise
    /// records a turn to the other direction, so that no later run resumes from what the earlier direction left.
    pub(super) async fn announce(&mut self, state: &impl Serialize) -> Result {
        let is_announced = self.direction == Direction::Down || self.checkpoints.turns_around();
        if is_announced { self.save_midway(state).await } else { Ok(()) }
    }

    /// Begins a change without checkpoints. True if it turns to the other direction, which is to be recorded first.
    pub(super) fn begin_closure(&mut self) -> bool {
        self.session.meter.set_reserve(false);
        let turns_around = self.checkpoints.turns_around();
        if turns_around {
            self.keep_nothing();
        }
        turns_around
    }

    /// The write of the checkpoint that is known last.
    pub(super) fn record_last(&self) -> Option<BoxFuture<'_, Result<(), KvError>>> {
        self.checkpoints.record_last()
    }

    /// Notes that the marker was written just now.
    pub(super) fn note_written(&mut self) {
        self.checkpoints.note_written();
        self.note_checkpoint();
    }

    /// Keeps a checkpoint for the failure that is about to be returned.
    pub(super) fn keep(&mut self, state: &impl Serialize) {
        let progress = self.progress();
        self.checkpoints.keep(state, progress);
    }

    /// Keeps a checkpoint without state for the failure that is about to be returned.
    pub(super) fn keep_nothing(&mut self) {
        let progress = self.progress();
        self.checkpoints.keep_nothing(progress);
    }

    /// How far the change had got when it failed; `None` if that is not known.
    pub(crate) fn take_checkpoint(&mut self) -> Option<Checkpoint> {
        self.checkpoints.take_last()
    }

    /// Waits until the marker may be written again.
    pub(crate) fn wait_for_marker(&self) -> BoxFuture<'a, ()> {
        self.checkpoints.wait_for_marker()
    }
}
