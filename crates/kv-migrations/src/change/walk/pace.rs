//! Decides how many entries may be worked on at once within the rest of the budget.

use std::time::SystemTime;

use super::read_ahead::{Room, Speed, is_stale, max_at_once, values_to_read};
use crate::clock::between;
use crate::kv::limits::{MAX_BULK_KEYS, MAX_CONNECTIONS};
use crate::kv::{EntryOperations, HighestCost};
use crate::session::Session;

/// What an entry may need although none has so far: a put that keeps metadata, and one more.
const MIN_COST: u64 = 3;
/// What the walk itself may need while entries are worked on: a list, a bulk read, a checkpoint.
const OWN_OPERATIONS: u64 = 3;

/// Measures what an entry costs, and admits only as many as the budget covers.
pub(super) struct Pace<'a> {
    session: &'a Session<'a>,
    /// The operations of the session before the first entry, and when that started.
    operations_before: u64,
    start: SystemTime,
    highest: HighestCost,
    started: u64,
    finished: u64,
    /// `None` before the first entry is done.
    speed: Option<Speed>,
    /// How many pages the walk has passed in this request.
    pages: u64,
    /// The most entries that may be worked on at once.
    max_at_once: usize,
}

impl<'a> Pace<'a> {
    pub(super) fn new(session: &'a Session<'a>) -> Self {
        let highest = HighestCost::default();
        Self {
            session,
            operations_before: 0,
            start: SystemTime::UNIX_EPOCH,
            highest,
            started: 0,
            finished: 0,
            speed: None,
            pages: 0,
            max_at_once: usize::MAX,
        }
    }

    pub(super) fn set_max_at_once(&mut self, entries: usize) {
        self.max_at_once = entries;
    }

    /// Counts the operations of the entry that starts.
    pub(super) fn start(&mut self, now: SystemTime) -> EntryOperations {
        if self.started == 0 {
            self.operations_before = self.session.operations();
            self.start = now;
        }
        self.started += 1;
        self.session.meter.add_entries(1);
        EntryOperations::new(&self.highest)
    }

    pub(super) fn finish(&mut self, now: SystemTime) {
        // The first one ran alone, and took the time in which as many run as there are connections.
        let beside = self.max_at_once().clamp(1, MAX_CONNECTIONS) - 1;
        self.finished += 1;
        self.speed = Some(Speed { entries: self.finished + beside as u64, time: between(self.start, now) });
    }

    pub(super) fn pass_page(&mut self) {
        self.pages += 1;
    }

    /// Whether one more entry may be worked on beside those that are.
    pub(super) fn has_room(&self) -> bool {
        let max = max_at_once(self.speed).min(self.max_at_once());
        self.started - self.finished < max as u64
    }

    fn max_at_once(&self) -> usize {
        self.session.meter.value_size().fit(self.max_at_once)
    }

    /// Whether a value that was read at this time is to be read again.
    pub(super) fn is_stale(&self, read: SystemTime, now: SystemTime, working: usize) -> bool {
        is_stale(self.speed, between(read, now), working)
    }

    /// How many values to read now, while this many wait and this many entries are worked on.
    pub(super) fn values_to_read(&self, waiting: usize, working: usize) -> usize {
        let in_all = self.session.meter.value_size().fit(2 * MAX_BULK_KEYS);
        let room = Room { to_read: in_all.min(MAX_BULK_KEYS), in_all };
        let values = values_to_read(self.speed, room, waiting, working);
        // The first entry always begins.
        let left = self.session.meter.entries_left().max(u64::from(self.started == 0));
        values.min(usize::try_from(left).unwrap_or(usize::MAX).saturating_sub(waiting))
    }

    /// Whether one more entry may begin: if the budget covers it and those that are worked on, each at the average cost so
    /// far; and if the budget with the reserve covers them, each at the highest cost so far.
    pub(super) fn can_afford_another(&self, now: SystemTime) -> bool {
        let meter = &self.session.meter;
        if self.started == 0 {
            // The first entry is always tried. Empty pages before it stop where the budget says so.
            return self.pages == 0 || meter.left_at(now) > 0;
        }
        let entries = self.started - self.finished + 1;
        // Not the lists: where a walk takes few of many keys, they would count as costs of the entries.
        let spent = self.session.operations().saturating_sub(self.operations_before + self.pages);
        let average = spent.div_ceil(self.finished.max(1)).max(1);
        let highest = self.highest.get().max(MIN_COST);
        let covers = |operations: u64, each: u64| operations / each >= entries;
        covers(meter.left_at(now), average) && covers(meter.room().saturating_sub(OWN_OPERATIONS), highest)
    }
}
