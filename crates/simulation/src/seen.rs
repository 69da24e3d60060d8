//! What is known of a world: its runs, its isolates, its markers.

use crate::invariants::Violation;
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
    /// What can happen, and did.
    pub tally: Tally,
    /// What went wrong, if anything did.
    pub violation: Option<Violation>,
}

/// A run, or a rollback.
#[derive(Debug)]
pub struct Run {
    /// Where.
    pub isolate: usize,
    /// When it began.
    pub began: i64,
    /// Whether it is not resumed at the moment.
    pub is_frozen: bool,
    /// Whether it has ended, or was dropped.
    pub is_over: bool,
    /// The migration whose `up` it is in.
    pub inside: Option<usize>,
    /// Whether that was marked as applied already when it began.
    pub was_marked: bool,
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
    /// When it was last no more marked as applied.
    pub unmarked_at: Option<i64>,
    /// Whether it was ever begun: also if it was cancelled, some of it is done then.
    pub is_begun: bool,
    /// Whether it is rolled back in one piece, of which not all is done.
    pub is_half_undone: bool,
    /// Whether its `up` has finished since it was undone last, as far as it tells.
    pub is_finished: bool,
}
