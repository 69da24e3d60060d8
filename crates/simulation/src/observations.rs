//! What the monitor knows of a world: its runs, its isolates, its migrations.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use crate::plan::Plan;
use crate::tally::Tally;
use crate::time::DELAY;
use crate::violation::Violation;

/// What was observed so far.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is another fact")]
pub struct Observations {
    /// Every run and rollback, by its number.
    pub runs: Vec<RunRecord>,
    /// Every isolate and object, by its number.
    pub isolates: Vec<IsolateRecord>,
    /// Every migration, in the order of registration.
    pub migrations: Vec<MigrationRecord>,
    /// Whether an object coordinates the runs now. Then its storage says what is applied, and not KV.
    pub is_coordinated: bool,
    /// The migrations that runs of the object applied.
    pub applied: Vec<AppliedRecord>,
    /// Whether a migration ever began after one before it was rolled back: KV still showed that one as applied.
    pub was_out_of_order: bool,
    /// Whether a migration ever began while one before it was rolled back in part: nothing is known of what it finds.
    pub was_half_rolled_back: bool,
    /// Whether KV showed a run the marker of a re-key with a nonce as it was before. Nothing is known then of the copies that
    /// are recorded in a newer checkpoint.
    pub has_read_old_checkpoint: bool,
    /// Whether a row of the object's storage was damaged: then the object knows less than it did.
    pub was_damaged: bool,
    /// The old keys of entries that were deleted.
    pub deleted: BTreeSet<String>,
    /// Whether one of them was written again.
    pub has_returned: bool,
    /// What may happen, and did.
    pub tally: Tally,
    /// The first violation of an invariant.
    pub violation: Option<Violation>,
}

impl Observations {
    /// Whether all data must be right.
    pub fn is_exact(&self, plan: &Plan) -> bool {
        plan.is_exact() && !self.was_half_rolled_back && !self.tally.write_arrived_late
    }

    /// Whether another run does the opposite of what this one does to the same migration, at once or so shortly before that KV
    /// may not show it: one migrates, the other rolls back.
    pub fn meets_opposite(&self, run: usize) -> bool {
        let this = &self.runs[run];
        let is_recent = |end: Option<SystemTime>| end.is_none_or(|end| end + DELAY >= this.began);
        self.runs.iter().any(|other| match this.rolls_back {
            Some(migration) => {
                other.inside == Some(migration)
                    || other.left.is_some_and(|(left, end)| left == migration && is_recent(Some(end)))
            }
            None => this.inside.is_some() && this.inside == other.rolls_back && is_recent(other.ended),
        })
    }

    /// Whether this run ended, or was suspended, a while ago, and another has begun since.
    pub fn is_long_over(&self, run: usize, now: SystemTime) -> bool {
        const A_WHILE: Duration = Duration::from_millis(500);
        let RunRecord { ended, suspended, .. } = self.runs[run];
        let is_old = ended.or(suspended).is_some_and(|stopped| now >= stopped + A_WHILE);
        is_old && run + 1 < self.runs.len()
    }
}

/// A migration that a run of the object applied.
#[derive(Debug, Clone, Copy)]
pub struct AppliedRecord {
    /// The number that the coordinator gave the run.
    pub run: u64,
    /// The number of the migration.
    pub migration: usize,
    /// When.
    pub at: SystemTime,
    /// Whether the object's storage failed at the same moment, so that the run may not have recorded it.
    pub may_be_unrecorded: bool,
}

/// A run or a rollback; with a coordinator, a step of one.
#[derive(Debug)]
pub struct RunRecord {
    /// The number of its isolate.
    pub isolate: usize,
    /// When it began.
    pub began: SystemTime,
    /// When it ended or was dropped.
    pub ended: Option<SystemTime>,
    /// Since when it is suspended, unless it was resumed.
    pub suspended: Option<SystemTime>,
    /// The migration whose `up` it runs.
    pub inside: Option<usize>,
    /// The migration that it rolls back, if it is asked to roll back one.
    pub rolls_back: Option<usize>,
    /// When it began that.
    pub entered: SystemTime,
    /// The migration whose `up` it ran last, and when that returned or was dropped.
    pub left: Option<(usize, SystemTime)>,
    /// Whether that migration was marked as applied before.
    pub was_marked: bool,
    /// Whether the object's storage failed meanwhile.
    pub storage_failed: bool,
    /// The migrations whose `up` returned `Ok`, of those that report it.
    pub finished: Vec<usize>,
}

impl RunRecord {
    /// The `up` that it runs returns, or is dropped.
    pub fn leave(&mut self, now: SystemTime) {
        if let Some(migration) = self.inside.take() {
            self.left = Some((migration, now));
        }
    }

    /// Whether the other one has been in the `up` that this one is in. One that was suspended meanwhile still knows what it
    /// had read before.
    pub fn has_met(&self, other: &Self) -> bool {
        let is_there = other.inside.filter(|_| other.ended.is_none() && other.suspended.is_none());
        let was_there = other.left.filter(|(_, left)| *left >= self.entered).map(|(migration, _)| migration);
        self.inside.is_some_and(|migration| [is_there, was_there].contains(&Some(migration)))
    }
}

/// An isolate, in which no two runs may overlap.
#[derive(Debug, Default)]
pub struct IsolateRecord {
    /// The run with the last operation, and when that was; in an object, the last step.
    pub last: Option<(usize, SystemTime)>,
}

/// What is true of a migration.
#[derive(Debug, Default, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is another fact")]
pub struct MigrationRecord {
    /// Whether it is marked as applied.
    pub is_marked: bool,
    /// How many mark it now who did not run it.
    pub marked_by_hand: u32,
    /// When it was last marked as applied.
    pub marked_at: Option<SystemTime>,
    /// When its mark was last removed.
    pub unmarked_at: Option<SystemTime>,
    /// Whether it ever began. Some of it is done then, even if it was cancelled.
    pub has_begun: bool,
    /// Whether a rollback in one piece has begun, and neither that nor a new `up` has ended.
    pub is_half_rolled_back: bool,
    /// Whether its `up` has finished since it was last rolled back, if it reports that.
    pub is_finished: bool,
}

/// A write that took effect.
#[derive(Debug)]
pub struct CompletedWrite<'a> {
    /// The run that sent it, if a run did.
    pub run: Option<usize>,
    /// Its key.
    pub key: &'a str,
    /// Its value; `None` if the key was deleted.
    pub value: Option<&'a [u8]>,
    /// The value before, if the key was deleted.
    pub deleted: Option<&'a [u8]>,
}
