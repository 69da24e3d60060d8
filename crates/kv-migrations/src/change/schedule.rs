//! Decides when a checkpoint is due: pure.
//!
//! A request that is cut off leaves only its checkpoints behind. So the first one comes early, and the next ones at
//! growing intervals.

use std::time::Duration;

use crate::sabotage::{self, Defect};

/// The first step of a request is recorded after this time at the latest. The next checkpoints follow after twice the
/// time, four times, and so on.
const FIRST: Duration = Duration::from_millis(300);
/// The longest time between two checkpoints, unless they are large.
const MAX_INTERVAL: Duration = Duration::from_secs(2);
/// A checkpoint waits one second longer for each of these. One that is larger than this is never early.
const BYTES_PER_SECOND: usize = 256 * 1024;
/// A request with fewer operations than these, and no more time than [`FIRST`], needs no checkpoint.
const MIN_OPERATIONS: u64 = 11;
/// Requests may have come after a checkpoint that is older, and left nothing.
const RECENT: Duration = Duration::from_secs(5);

/// Where a request is when it asks whether a checkpoint is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// The time since it began the change.
    pub(super) elapsed: Duration,
    /// The time since the marker was written last, if it was.
    pub(super) since_write: Option<Duration>,
    /// The least time between two writes of the marker.
    pub(super) write_interval: Duration,
    /// The size of the last checkpoint.
    pub(super) bytes: usize,
    /// How many checkpoints this request has saved.
    pub(super) saved: u32,
    /// Whether a request before this one may have been cut off before it saved anything.
    pub(super) is_careful: bool,
    /// Whether one before this one was cut off, as far as its checkpoint tells.
    pub(super) was_cut_off: bool,
    /// The operations of this request so far.
    pub(super) operations: u64,
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) entries: u64,
    pub(super) operations: u64,
    pub(super) time: Duration,
}

/// How much more a request can do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    /// The entries, if their number is known.
    pub(super) entries: Option<u64>,
    /// The operations and the time of the budget.
    pub(super) operations: u64,
    pub(super) time: Duration,
}

/// Whether a request has to fear that one before it left nothing, which was `since` the last checkpoint was written.
pub(super) fn is_careful(since: Option<Duration>) -> bool {
    since.is_none_or(|since| since > RECENT)
}

/// Whether a checkpoint is due. `rest` estimates what the request still does before it ends in order; `None` if that is
/// not known.
pub(super) fn is_due(moment: &Moment, rest: impl FnOnce() -> Option<Work>) -> bool {
    let Moment { elapsed, write_interval, bytes, .. } = *moment;
    let since_write = moment.since_write.unwrap_or(Duration::MAX);
    if since_write < write_interval {
        return false;
    }
    if sabotage::is_on(Defect::LateCheckpoint) && elapsed < MAX_INTERVAL {
        return false;
    }
    let seconds = (bytes / BYTES_PER_SECOND) as u64;
    // Whether the marker could be written in time for the first step.
    let is_free = since_write.saturating_add(FIRST) >= elapsed.saturating_add(write_interval);
    let is_first = moment.saved == 0 && is_free && seconds == 0;
    let is_time = if is_first {
        moment.is_careful || elapsed >= FIRST
    } else if seconds > 0 {
        since_write.min(elapsed) >= MAX_INTERVAL + Duration::from_secs(seconds)
    } else {
        since_write >= FIRST.saturating_mul(1 << moment.saved.min(8)).min(MAX_INTERVAL)
    };
    is_time
        && rest().is_none_or(|rest| {
            if is_first {
                let operations = moment.operations.saturating_add(rest.operations);
                // An entry may take more operations than those before it. After one that was cut off, no estimate counts.
                let fits = !moment.was_cut_off
                    && operations < MIN_OPERATIONS
                    && elapsed.saturating_add(rest.time) <= FIRST;
                rest.entries > 0 && !fits
            } else {
                // A checkpoint now would delay the end, which writes the marker too.
                rest.entries > 0 && rest.time >= write_interval
            }
        })
}

/// What a request still does before it ends in order: all that is left, or as much as its budget allows. `None` if nothing
/// tells how long an entry takes.
pub(super) fn rest(done: Work, left: Left) -> Option<Work> {
    if left.entries == Some(0) || left.operations == 0 {
        return Some(Work { entries: 0, operations: 0, time: Duration::ZERO });
    }
    if done.entries == 0 {
        return None;
    }
    // One more begins in any case, and may cost less.
    let affordable = (left.operations.saturating_mul(done.entries) / done.operations.max(1)).max(1);
    let entries = affordable.min(left.entries.unwrap_or(u64::MAX));
    let share = |all: u64| entries.saturating_mul(all) / done.entries;
    let milliseconds = u64::try_from(done.time.as_millis()).unwrap_or(u64::MAX);
    let time = Duration::from_millis(share(milliseconds)).min(left.time);
    Some(Work { entries, operations: share(done.operations), time })
}

/// The operations after which the next request begins no more entries, if that is fewer than its budget has. `limit` is
/// the same of this request.
pub(super) fn next_limit(limit: Option<u64>, end: RequestEnd) -> Option<u64> {
    match end {
        RequestEnd::Unknown { operations } => Some(operations),
        RequestEnd::InOrder => limit.map(|limit| limit.saturating_mul(4)),
    }
}

/// How the request ends that saves a checkpoint, as far as it can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestEnd {
    /// With this checkpoint.
    InOrder,
    /// It goes on, and has made this many operations. If this checkpoint is its last one, it was cut off.
    Unknown { operations: u64 },
}

#[cfg(test)]
mod tests {
    use super::*;

    const KV: Duration = Duration::from_secs(1);
    const ROWS: Duration = Duration::ZERO;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// A moment this many milliseconds into a request, and after the last write of the marker.
    fn at(elapsed: u64, since_write: Option<u64>, saved: u32) -> Moment {
        Moment {
            elapsed: ms(elapsed),
            since_write: since_write.map(ms),
            write_interval: KV,
            bytes: 100,
            saved,
            is_careful: false,
            was_cut_off: false,
            operations: 50,
        }
    }

    #[allow(clippy::unnecessary_wraps, reason = "an estimate")]
    fn of(entries: u64, operations: u64, time: u64) -> Option<Work> {
        Some(Work { entries, operations, time: ms(time) })
    }

    #[test]
    fn every_row_of_the_table() {
        let long = of(1_000, 1_000, 5_000);
        let short = of(50, 50, 400);
        let careful = |moment| Moment { is_careful: true, operations: 5, ..moment };
        let after_cut_off = |moment| Moment { was_cut_off: true, ..careful(moment) };
        let rows = |moment| Moment { write_interval: ROWS, ..moment };
        let sized = |bytes, moment| Moment { bytes, ..moment };
        #[rustfmt::skip]
        let table = [
            ("the first step, when nothing is known",       careful(at(50, None, 0)),              None,             true),
            ("… although the rest is short",                careful(at(50, None, 0)),              short,            true),
            ("… but not if nothing can go wrong",           careful(at(50, None, 0)),              of(4, 4, 100),    false),
            ("… and not if that took long",                 careful(at(50, None, 0)),              of(4, 4, 300),    true),
            ("… and not if nothing is left",                careful(at(50, None, 0)),              of(0, 0, 0),      false),
            ("after a request that was cut off",            after_cut_off(at(50, None, 0)),        of(4, 4, 100),    true),
            ("… but not if nothing is left",                after_cut_off(at(50, None, 0)),        of(0, 0, 0),      false),
            ("the first step after an orderly end",         at(299, Some(1_500), 0),               long,             false),
            ("… 300 ms into the request",                   at(300, Some(1_500), 0),               long,             true),
            ("… although the rest is short",                at(300, Some(1_500), 0),               short,            true),
            ("a request right after the last write",        at(300, Some(400), 0),                 long,             false),
            ("… as soon as KV takes it",                    at(900, Some(1_000), 0),               long,             true),
            ("… but not if that delays the end",            at(900, Some(1_000), 0),               short,            false),
            ("a request that may write in time",            at(300, Some(1_000), 0),               short,            true),
            ("the second checkpoint",                       at(1_300, Some(999), 1),               long,             false),
            ("… after a second",                            at(1_300, Some(1_000), 1),             long,             true),
            ("… but not if that delays the end",            at(1_300, Some(1_000), 1),             short,            false),
            ("… if the rest is not known",                  at(1_300, Some(1_000), 1),             None,             true),
            ("the third one",                               at(2_500, Some(1_199), 2),             long,             false),
            ("…",                                           at(2_500, Some(1_200), 2),             long,             true),
            ("the fourth one",                              at(9_000, Some(1_999), 3),             long,             false),
            ("…",                                           at(9_000, Some(2_000), 3),             long,             true),
            ("the hundredth one",                           at(90_000, Some(2_000), 100),          long,             true),
            ("rows: the first step",                        rows(at(300, Some(0), 0)),             short,            true),
            ("rows: the second one",                        rows(at(900, Some(599), 1)),           long,             false),
            ("…",                                           rows(at(900, Some(600), 1)),           short,            true),
            ("a large one is never early",                  sized(300_000, careful(at(2_999, None, 0))), long,       false),
            ("…",                                           sized(300_000, at(3_000, None, 0)),    long,             true),
            ("… and waits longer",                          sized(3_000_000, at(20_000, Some(12_999), 9)), long,     false),
            ("…",                                           sized(3_000_000, at(20_000, Some(13_000), 9)), long,     true),
        ];
        for (situation, moment, rest, expected) in table {
            assert_eq!(is_due(&moment, || rest), expected, "{situation}: {moment:?}, {rest:?}");
        }
    }

    #[test]
    fn the_rest_is_what_is_left_or_what_the_budget_allows() {
        let done = Work { entries: 10, operations: 30, time: ms(200) };
        let left = |entries, operations, time| Left { entries, operations, time: ms(time) };
        let rows = [
            (left(Some(0), 100, 9_000), of(0, 0, 0)),
            (left(None, 0, 9_000), of(0, 0, 0)),
            (left(Some(50), 900, 9_000), of(50, 150, 1_000)),
            (left(Some(50), 90, 9_000), of(30, 90, 600)),
            (left(None, 90, 9_000), of(30, 90, 600)),
            (left(None, 90, 400), of(30, 90, 400)),
            // One more than the budget covers at this cost.
            (left(Some(50), 2, 9_000), of(1, 3, 20)),
        ];
        for (left, expected) in rows {
            assert_eq!(rest(done, left), expected, "{left:?}");
        }
        let nothing = Work { entries: 0, ..done };
        assert_eq!(rest(nothing, left(Some(50), 900, 9_000)), None);
        let extreme = Work { entries: 1, operations: u64::MAX, time: Duration::MAX };
        assert!(rest(extreme, left(None, u64::MAX, u64::MAX)).is_some(), "no figure overflows");
    }

    #[test]
    fn a_request_that_follows_one_that_was_cut_off_does_less_and_then_more_again() {
        let cut_off = next_limit(None, RequestEnd::Unknown { operations: 60 });
        assert_eq!(cut_off, Some(60));
        let again = next_limit(cut_off, RequestEnd::Unknown { operations: 9 });
        assert_eq!(again, Some(9));
        assert_eq!(next_limit(again, RequestEnd::InOrder), Some(36));
        assert_eq!(next_limit(None, RequestEnd::InOrder), None);
    }

    #[test]
    fn a_rest_of_any_length_has_a_checkpoint_before_it() {
        let rest = Work { entries: u64::MAX, operations: u64::MAX, time: Duration::MAX };
        assert!(is_due(&at(300, None, 0), || Some(rest)));
    }

    #[test]
    fn after_a_while_without_a_checkpoint_a_request_is_careful() {
        for (since, expected) in [(None, true), (Some(ms(1_000)), false), (Some(ms(5_001)), true)] {
            assert_eq!(is_careful(since), expected, "{since:?}");
        }
    }
}
