//! What is known of a world: its runs, its isolates, its markers.

use crate::invariants::Violation;
use crate::plan::Plan;
use crate::tally::Tally;

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Seen {
    /// Every run and rollback, by its number.
    pub runs: Vec<Run>,
    /// Every isolate, by its number.
    pub isolates: Vec<Isolate>,
    /// Every migration, in the order of registration.
    pub migrations: Vec<Marked>,
    /// Whether an object coordinates the runs at the moment: then its rows say what is applied, and not KV.
    pub is_coordinated: bool,
    /// Which run of the object applied which migration.
    pub applied: Vec<Applied>,
    /// Whether a migration ever began before one was undone again that stands before it: KV still showed that one.
    pub was_out_of_order: bool,
    /// Whether a migration ever began while one before it was undone in part: what it then finds is anybody's guess.
    pub was_half_undone: bool,
    /// What can happen, and did.
    pub tally: Tally,
    /// What went wrong, if anything did.
    pub violation: Option<Violation>,
}

impl Seen {
    /// Whether data can be counted on to be right.
    pub fn is_exact(&self, plan: &Plan) -> bool {
        plan.is_exact() && !self.was_half_undone && !self.tally.arrived_late
    }

    /// Whether this run ended a while ago, and another has begun since.
    pub fn is_long_over(&self, run: usize, now: i64) -> bool {
        const A_WHILE: i64 = 500;
        let ended = &self.runs[run];
        ended.is_over && now - ended.ended >= A_WHILE && run + 1 < self.runs.len()
    }
}

/// A migration that a run of the object applied.
#[derive(Debug, Clone, Copy)]
pub struct Applied {
    /// The number of the run.
    pub run: u64,
    /// Which.
    pub migration: usize,
    /// When.
    pub at: i64,
    /// Whether the object's storage failed just then, before the run could write that it had applied it.
    pub may_be_untold: bool,
}

/// A run, or a rollback.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is something else")]
pub struct Run {
    /// Where.
    pub isolate: usize,
    /// When it began.
    pub began: i64,
    /// Whether it is not resumed at the moment.
    pub is_frozen: bool,
    /// Whether it has ended, or was dropped.
    pub is_over: bool,
    /// When it did.
    pub ended: i64,
    /// The migration whose `up` it is in.
    pub inside: Option<usize>,
    /// Whether that was marked as applied already when it began.
    pub was_marked: bool,
    /// Whether the storage of its object failed meanwhile.
    pub had_broken_rows: bool,
    /// The migrations whose `up` returned `Ok`, as far as they tell.
    pub finished: Vec<usize>,
}

/// An isolate, in which no two runs may overlap.
#[derive(Debug, Default)]
pub struct Isolate {
    /// The run that made the last operation.
    pub holder: Option<usize>,
    /// When that was.
    pub last_operation: i64,
}

/// What is really known of a migration.
#[derive(Debug, Default, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is something else")]
pub struct Marked {
    /// Whether it is marked as applied.
    pub is_marked: bool,
    /// Since when.
    pub marked_at: i64,
    /// When it was last no more marked as applied.
    pub unmarked_at: Option<i64>,
    /// Whether it was ever begun: also if it was cancelled, some of it is done then.
    pub is_begun: bool,
    /// Whether it was begun to be rolled back in one piece, and neither that nor a new `up` has come to its end.
    pub is_half_undone: bool,
    /// Whether its `up` has finished since it was undone last, as far as it tells.
    pub is_finished: bool,
}
