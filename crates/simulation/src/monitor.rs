//! The monitor of a world: it observes everything that happens, and checks the invariants at once.
//!
//! `runs` has what runs report, `markers` what is written.

mod markers;
mod runs;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use kv_migrations::clock::Clock;
use kv_migrations::coordinator::HistoryEntry;
use kv_migrations::kv::MemoryStore;
use kv_migrations::testing::VirtualTime;

use crate::deployment::Deployment;
use crate::invariants;
use crate::mode::Mode;
use crate::moving::Moving;
use crate::observations::{MigrationRecord, Observations};
use crate::plan::{Plan, Seal};
use crate::random::Random;
use crate::situation::Situation;
use crate::table::Table;
use crate::tally::Tally;
use crate::trace::Trace;
use crate::versions::Versions;
use crate::violation::{Check, Violation};

/// The monitor of a world. Clones share what it knows.
#[derive(Clone)]
pub struct Monitor {
    /// What happened, line by line.
    pub trace: Trace,
    plan: Arc<Plan>,
    versions: Versions,
    time: VirtualTime,
    observations: Arc<Mutex<Observations>>,
}

impl Monitor {
    /// The monitor of a world in which nothing has happened.
    pub fn new(plan: Arc<Plan>, versions: Versions, time: VirtualTime, trace: Trace) -> Self {
        let migrations = vec![MigrationRecord::default(); plan.migrations.len()];
        let mut observations = Observations { migrations, ..Observations::default() };
        observations.tally.mode = plan.mode;
        observations.tally.limit = plan.situation.limit();
        observations.tally.is_live = plan.situation == Situation::LiveService;
        observations.tally.two_releases = plan.situation.older_release().is_some();
        let is_moving = |table: &Table| table.moving.is_some_and(|moving| !moving.is_between_namespaces());
        observations.tally.has_moving = plan.tables.iter().any(is_moving);
        let is_between = |table: &Table| table.moving.is_some_and(Moving::is_between_namespaces);
        observations.tally.is_between_namespaces = plan.tables.iter().any(is_between);
        observations.tally.has_seals = plan.migrations.iter().any(|planned| planned.seal != Seal::None);
        Self { trace, plan, versions, time, observations: Arc::new(Mutex::new(observations)) }
    }

    /// The first violation of an invariant.
    pub fn violation(&self) -> Option<Violation> {
        self.locked().violation.clone()
    }

    /// Whether an invariant was violated.
    pub fn has_violation(&self) -> bool {
        self.locked().violation.is_some()
    }

    /// What may happen, and did.
    pub fn tally(&self) -> Tally {
        self.locked().tally
    }

    /// Changes what is counted.
    pub fn count(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.locked().tally);
    }

    /// A release is deployed: all runs before it have ended.
    pub fn deployed(&self, deployment: &Deployment) {
        self.trace.add(|| format!("{deployment:?}"));
        let (mut observations, now) = (self.locked(), self.time.now());
        observations.is_coordinated = deployment.is_coordinated;
        for run in observations.runs.iter_mut().filter(|run| run.ended.is_none()) {
            run.leave(now);
            run.ended = Some(now);
        }
    }

    /// The object is idle, and this is its history.
    pub fn object_is_idle(&self, history: &[HistoryEntry], truth: &MemoryStore) {
        let mut observations = self.locked();
        if observations.was_damaged {
            return;
        }
        let complete = invariants::the_history_is_complete(&observations, &self.plan, history);
        let same = invariants::kv_has_the_markers_of_the_object(&observations, &self.plan, truth);
        self.report(&mut observations, complete.and(same));
    }

    /// A run or a status of a release with this many migrations, which began then, says that all is applied.
    pub fn told_that_all_is_applied(&self, release: usize, began: SystemTime) {
        let mut observations = self.locked();
        observations.tally.was_up_to_date = true;
        let check = invariants::what_is_told_is_applied(&observations, &self.plan, release, began);
        self.report(&mut observations, check);
    }

    /// Looks at the runs of an object that have finished.
    pub fn check_finished_runs(&self, history: &[HistoryEntry]) {
        let mut observations = self.locked();
        let check = invariants::finished_runs_applied_what_was_asked_for(&observations, &self.plan, history);
        self.report(&mut observations, check);
    }

    /// Whether a re-key may find two different values of an entry, after a crash or beside another run. A copy with a nonce is
    /// one as soon as nothing is known of it any more.
    pub fn may_report_collision(&self) -> bool {
        let observations = self.locked();
        let starts_over = observations.tally.was_started_over || self.plan.has_rollbacks;
        // An older checkpoint may have come back, or was read.
        let is_outdated = self.plan.has_runs_between_objects()
            || observations.tally.write_arrived_late
            || observations.has_read_old_checkpoint;
        let may_forget_nonces = starts_over || is_outdated || self.plan.has_stale_copies();
        self.plan.has_concurrent_writes()
            || observations.was_out_of_order
            || self.plan.has_nonces() && (may_forget_nonces || observations.tally.rekeys_overlapped)
    }

    /// Whether a migration is marked as applied.
    pub fn is_marked(&self, number: usize) -> bool {
        self.locked().migrations[number].is_marked
    }

    /// Migrations are marked that have not run, or not to their end.
    pub fn begin_marking(&self, numbers: &[usize]) {
        let mut observations = self.locked();
        observations.tally.was_marked = true;
        observations.tally.was_started_over = true;
        for number in numbers {
            observations.migrations[*number].marked_by_hand += 1;
        }
    }

    /// They are unmarked again.
    pub fn end_marking(&self, numbers: &[usize]) {
        let mut observations = self.locked();
        for number in numbers {
            observations.migrations[*number].marked_by_hand -= 1;
        }
    }

    /// A migration is cancelled or reset.
    pub fn starts_over(&self) {
        self.locked().tally.was_started_over = true;
    }

    /// Whether a re-key knows all copies that it has made, and the table by which it maps.
    pub fn knows_all_copies(&self) -> bool {
        let observations = self.locked();
        let has_begun_again = observations.tally.was_started_over || observations.was_damaged;
        // A rollback that is not ended, too, lets the re-key begin again.
        let may_begin_again =
            has_begun_again || self.plan.has_rollbacks || self.plan.has_runs_between_objects();
        !may_begin_again && self.plan.mode != Mode::ManyCallers && !self.plan.has_stale_copies()
    }

    /// Whether an entry was written under its old key again after it had moved.
    pub fn has_returned(&self) -> bool {
        self.locked().has_returned
    }

    /// Whether all data must be right.
    pub fn is_exact(&self) -> bool {
        self.locked().is_exact(&self.plan)
    }

    /// Notes the result of a check.
    pub fn check(&self, check: Check) {
        self.report(&mut self.locked(), check);
    }

    /// A migration that is rolled back in part, and has to be rolled back completely.
    pub fn half_rolled_back(&self) -> Option<usize> {
        let observations = self.locked();
        observations.migrations.iter().position(|record| record.is_half_rolled_back && record.is_marked)
    }

    /// Whether the last migrations may be rolled back. Where migrations build on those before, not if one has begun and is not
    /// marked: it was cancelled, perhaps, with some of it done.
    pub fn may_roll_back_several(&self) -> bool {
        let observations = self.locked();
        let last = observations.migrations.iter().rfind(|record| record.has_begun);
        self.plan.situation.older_release().is_none()
            && (!self.plan.is_chained || last.is_none_or(|record| record.is_marked))
    }

    /// Draws a migration to roll back. Where migrations build on those before, it is the last that has begun.
    pub fn draw_rollback(&self, random: &Random) -> Option<usize> {
        let observations = self.locked();
        if self.plan.is_chained {
            return observations.migrations.iter().rposition(|record| record.has_begun);
        }
        Some(random.below(observations.migrations.len()))
    }

    fn report(&self, observations: &mut Observations, check: Check) {
        if let Err(violation) = check {
            self.trace.add(|| format!("VIOLATION of {violation}"));
            observations.violation.get_or_insert(violation);
        }
    }

    fn locked(&self) -> MutexGuard<'_, Observations> {
        self.observations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
