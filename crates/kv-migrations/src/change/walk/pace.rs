//! Decides how many entries may be worked on at once within the rest of the budget.

use crate::kv::limits::MAX_CONNECTIONS;
use crate::kv::{EntryOperations, HighestCost};
use crate::session::Session;

/// How many entries are worked on at once: more than there are connections, so that a slow entry does not delay the
/// others.
const MAX_AT_ONCE: usize = 2 * MAX_CONNECTIONS;
/// What an entry may need although none has so far: a put that keeps metadata, and one more.
const MIN_COST: u64 = 3;
/// What the walk itself may need while entries are worked on: a list, a bulk read, a checkpoint.
const OWN_OPERATIONS: u64 = 3;

/// Measures what an entry costs, and admits only as many as the budget covers.
pub(super) struct Pace<'a> {
    session: &'a Session<'a>,
    /// The operations of the session before the first entry.
    operations_before: u64,
    highest: HighestCost,
    started: u64,
    finished: u64,
    /// Whether the walk has passed the end of a page in this request.
    has_passed_page: bool,
    max_at_once: usize,
}

impl<'a> Pace<'a> {
    pub(super) fn new(session: &'a Session<'a>) -> Self {
        let highest = HighestCost::default();
        Self {
            session,
            operations_before: 0,
            highest,
            started: 0,
            finished: 0,
            has_passed_page: false,
            max_at_once: MAX_AT_ONCE,
        }
    }

    pub(super) fn admit_one_at_a_time(&mut self) {
        self.max_at_once = 1;
    }

    /// Counts the operations of the entry that starts.
    pub(super) fn start(&mut self) -> EntryOperations {
        if self.started == 0 {
            self.operations_before = self.session.operations();
        }
        self.started += 1;
        EntryOperations::new(&self.highest)
    }

    pub(super) fn finish(&mut self) {
        self.finished += 1;
    }

    pub(super) fn pass_page(&mut self) {
        self.has_passed_page = true;
    }

    /// Whether the cost of an entry is known yet.
    pub(super) fn is_measured(&self) -> bool {
        self.finished > 0
    }

    /// Whether one more entry may be worked on beside those that are. The first one runs alone: then its cost is known, and
    /// every request gets further than the one before.
    pub(super) fn has_room(&self) -> bool {
        let max = if self.is_measured() { self.max_at_once as u64 } else { 1 };
        self.started - self.finished < max
    }

    /// Whether one more entry may begin: if the budget covers it and those that are worked on, each at the average cost so
    /// far; and if the budget with the reserve covers them, each at the highest cost so far.
    pub(super) fn can_afford_another(&self) -> bool {
        let meter = &self.session.meter;
        if self.started == 0 {
            // The first entry is always tried. Empty pages before it stop where the budget says so.
            return !self.has_passed_page || meter.left() > 0;
        }
        let entries = self.started - self.finished + 1;
        let spent = self.session.operations().saturating_sub(self.operations_before);
        let average = spent.div_ceil(self.finished.max(1)).max(1);
        let highest = self.highest.get().max(MIN_COST);
        let covers = |operations: u64, each: u64| operations / each >= entries;
        covers(meter.left(), average) && covers(meter.room().saturating_sub(OWN_OPERATIONS), highest)
    }
}
