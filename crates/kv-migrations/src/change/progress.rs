//! Counts how far a change has got, in this request and in those before it.

use std::time::{Duration, SystemTime};

use super::schedule::Work;
use crate::clock::{between, iso8601, milliseconds_between};
use crate::report::{Direction, EntryCounts, Phase, Progress};

/// The time between two progress events.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The counters of one change in one request.
pub(super) struct ProgressCounter {
    start: SystemTime,
    /// The operations of the session before this change.
    operations_before: u64,
    /// What earlier requests took.
    earlier: Totals,
    /// The phase and its entries. The totals in it are those of the last checkpoint.
    progress: Progress,
    /// The counts of the checkpoint that this request resumed.
    entries_before: EntryCounts,
    /// The entries that this request did.
    done: u64,
    /// When this request began the phase, and the operations and entries of the request before that.
    phase_start: SystemTime,
    operations_before_phase: u64,
    done_before_phase: u64,
    has_advanced: bool,
    reported: SystemTime,
}

/// What requests took.
#[derive(Default)]
struct Totals {
    requests: u64,
    operations: u64,
    duration_ms: u64,
}

impl ProgressCounter {
    pub(super) fn new(direction: Direction, now: SystemTime, operations: u64) -> Self {
        Self {
            start: now,
            operations_before: operations,
            earlier: Totals::default(),
            progress: Progress { direction, started_at: iso8601(now), ..Progress::default() },
            entries_before: EntryCounts::default(),
            done: 0,
            phase_start: now,
            operations_before_phase: operations,
            done_before_phase: 0,
            has_advanced: false,
            reported: now,
        }
    }

    /// Continues from the progress of a checkpoint.
    pub(super) fn resume(&mut self, progress: &Progress) {
        let Progress { requests, operations, duration_ms, .. } = *progress;
        self.earlier = Totals { requests, operations, duration_ms };
        let start = std::mem::take(&mut self.progress.started_at);
        self.progress.clone_from(progress);
        self.entries_before = progress.entries;
        if progress.started_at.is_empty() {
            // The metadata of the checkpoint was lost.
            self.progress.started_at = start;
        }
    }

    /// What became of the entries in this request.
    pub(super) fn entries(&self) -> EntryCounts {
        self.progress.entries.since(self.entries_before)
    }

    pub(super) fn note_checkpoint(&mut self, at: &str) {
        at.clone_into(&mut self.progress.checkpoint_at);
    }

    /// The operations of the session before the change.
    pub(super) fn operations_before(&self) -> u64 {
        self.operations_before
    }

    /// When this request began the change.
    pub(super) fn start(&self) -> SystemTime {
        self.start
    }

    /// `operations` are those of the session.
    pub(super) fn begin_phase(&mut self, phase: Phase, total: Option<u64>, now: SystemTime, operations: u64) {
        if phase == Phase::Survey {
            // It looks at all entries again.
            self.progress.entries = EntryCounts::default();
        }
        (self.progress.phase, self.progress.done, self.progress.total) = (phase, 0, total);
        (self.phase_start, self.operations_before_phase) = (now, operations);
        self.done_before_phase = self.done;
    }

    pub(super) fn set_phase(&mut self, phase: Phase) {
        self.progress.phase = phase;
    }

    pub(super) fn set_done(&mut self, entries: u64) {
        self.progress.done = entries;
    }

    pub(super) fn set_failed(&mut self, entries: usize) {
        let failed = entries as u64;
        if self.progress.phase == Phase::Entries {
            let seen = failed.saturating_sub(self.progress.failed);
            self.progress.entries.add(EntryCounts { seen, ..EntryCounts::default() });
        }
        (self.progress.failed, self.progress.entries.left) = (failed, failed);
    }

    /// Counts entries that the phases do not count by themselves.
    pub(super) fn add_entries(&mut self, entries: EntryCounts) {
        self.progress.entries.add(entries);
    }

    pub(super) fn add_done(&mut self, entries: u64) {
        self.done = self.done.saturating_add(entries);
        self.progress.done = self.progress.done.saturating_add(entries);
        let none = EntryCounts::default();
        self.add_entries(match self.progress.phase {
            Phase::Entries => EntryCounts { seen: entries, ..none },
            Phase::Write => EntryCounts { changed: entries, ..none },
            Phase::Sweep => EntryCounts { moved: entries, ..none },
            _ => none,
        });
        self.has_advanced |= entries > 0;
    }

    /// Notes a step that the next request need not repeat.
    pub(super) fn note_advance(&mut self) {
        self.has_advanced = true;
    }

    pub(super) fn has_advanced(&self) -> bool {
        self.has_advanced
    }

    /// The entries that are done in this phase.
    pub(super) fn done_in_phase(&self) -> u64 {
        self.progress.done
    }

    /// What this request did in this phase. `operations` are those of the session.
    pub(super) fn done_in_phase_of_request(&self, now: SystemTime, operations: u64) -> Work {
        Work {
            entries: self.done.saturating_sub(self.done_before_phase),
            operations: operations.saturating_sub(self.operations_before_phase),
            time: between(self.phase_start, now),
        }
    }

    /// Whether it is time for a progress event; if so, the next one is due an interval later.
    pub(super) fn is_report_due(&mut self, now: SystemTime) -> bool {
        let is_due = between(self.reported, now) >= REPORT_INTERVAL;
        if is_due {
            self.reported = now;
        }
        is_due
    }

    /// The progress now. `operations` are those of the session.
    #[allow(clippy::unnecessary_box_returns, reason = "every caller keeps it in a box")]
    pub(super) fn snapshot(&self, now: SystemTime, operations: u64) -> Box<Progress> {
        let milliseconds = milliseconds_between(self.start, now);
        Box::new(Progress {
            requests: self.earlier.requests.saturating_add(1),
            operations: self
                .earlier
                .operations
                .saturating_add(operations.saturating_sub(self.operations_before)),
            duration_ms: self.earlier.duration_ms.saturating_add(milliseconds),
            entries_per_second: self.done.min(u64::MAX / 1000) * 1000 / milliseconds.max(1),
            // The service may have added entries since they were counted.
            total: self.progress.total.map(|total| total.max(self.progress.done)),
            ..self.progress.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    /// The metadata of a marker can hold any number.
    #[test]
    fn the_counters_of_a_checkpoint_that_are_the_greatest_numbers_stay_so() {
        let entries = EntryCounts { seen: u64::MAX, changed: u64::MAX, moved: u64::MAX, left: u64::MAX };
        let stored = Progress {
            done: u64::MAX,
            requests: u64::MAX,
            operations: u64::MAX,
            duration_ms: u64::MAX,
            entries,
            ..Progress::default()
        };
        let mut counter = ProgressCounter::new(Direction::Up, UNIX_EPOCH, 5);
        counter.resume(&stored);
        for phase in [Phase::Entries, Phase::Write, Phase::Sweep] {
            counter.set_phase(phase);
            counter.add_done(u64::MAX);
        }
        counter.add_entries(entries);
        counter.set_phase(Phase::Entries);
        counter.set_failed(3);
        let now = counter.snapshot(UNIX_EPOCH + Duration::from_secs(1), 7);
        assert_eq!(now.entries, EntryCounts { left: 3, ..entries });
        let Progress { done, requests, operations, duration_ms, entries_per_second, .. } = *now;
        assert_eq!([done, requests, operations, duration_ms], [u64::MAX; 4]);
        assert_eq!(entries_per_second, u64::MAX / 1_000);
    }
}
