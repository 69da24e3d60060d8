//! Decides how much is read ahead, so that no value waits for long until the work on it begins: pure.
//!
//! What the service writes while a value waits is overwritten. KV refuses a second write to a key within a second, so
//! that no such write goes unnoticed as long as no value waits longer than that.

use std::time::Duration;

use crate::kv::limits::MAX_CONNECTIONS;

/// How long a value waits at most, for its turn and for a connection: a second, without the way of its write.
const MAX_WAIT: Duration = Duration::from_millis(950);
/// How long it is expected to wait when it is read.
const EXPECTED_WAIT_MS: u64 = 850;
/// How many entries are worked on at once: more than there are connections, so that a slow entry does not delay the
/// others.
const MAX_AT_ONCE: usize = 2 * MAX_CONNECTIONS;

/// How fast entries are done: this many in this time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speed {
    pub(super) entries: u64,
    pub(super) time: Duration,
}

impl Speed {
    /// How long this many entries take.
    fn time_of(self, entries: usize) -> Duration {
        let entries = u32::try_from(entries).unwrap_or(u32::MAX);
        self.time.saturating_mul(entries) / u32::try_from(self.entries).unwrap_or(u32::MAX).max(1)
    }

    /// How many entries are done while a value waits.
    fn entries_in_wait(self) -> usize {
        match self.time.as_millis() {
            0 => usize::MAX,
            time => {
                let milliseconds = u64::try_from(time).unwrap_or(u64::MAX);
                let entries = self.entries.saturating_mul(EXPECTED_WAIT_MS) / milliseconds;
                usize::try_from(entries).unwrap_or(usize::MAX)
            }
        }
    }
}

/// How many entries may be worked on at once. Those that wait for a connection wait with their values. The first one runs
/// alone: then its cost is known, and every request gets further than the one before.
pub(super) fn max_at_once(speed: Option<Speed>) -> usize {
    speed.map_or(1, |speed| speed.entries_in_wait().clamp(MAX_CONNECTIONS, MAX_AT_ONCE))
}

/// How many values there is room for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// To be read at once.
    pub(super) to_read: usize,
    /// Beside those that wait.
    pub(super) in_all: usize,
}

/// How many values to read now, while some wait and some entries are worked on. Zero if it is too early.
pub(super) fn values_to_read(speed: Option<Speed>, room: Room, waiting: usize, working: usize) -> usize {
    let most = room.to_read;
    let Some(speed) = speed else {
        // Only what is needed.
        return if waiting == 0 { most } else { 0 };
    };
    let window = speed.entries_in_wait().saturating_sub(working);
    // Early enough that no entry waits for the read.
    let is_soon = waiting < (window / 8).min(most) && waiting + most <= room.in_all;
    let is_short = waiting == 0 || is_soon;
    if is_short { window.saturating_sub(waiting).clamp(1, most) } else { 0 }
}

/// Whether a value that was read this long ago is to be read again before the work on it begins, beside this many entries
/// that are worked on. If they hold all connections, it waits until those are free: at worst for as long as as many entries
/// take.
pub(super) fn is_stale(speed: Option<Speed>, age: Duration, working: usize) -> bool {
    let before = working / MAX_CONNECTIONS * MAX_CONNECTIONS;
    let wait = speed.map_or(Duration::ZERO, |speed| speed.time_of(before));
    age + wait > MAX_WAIT
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that are small.
    const SMALL: Room = Room { to_read: 100, in_all: 200 };

    /// This many entries a second.
    #[allow(clippy::unnecessary_wraps, reason = "a speed that is known")]
    fn per_second(entries: u64) -> Option<Speed> {
        Some(Speed { entries, time: Duration::from_secs(1) })
    }

    #[test]
    fn every_row_of_the_table() {
        let instant = Some(Speed { entries: 1, time: Duration::ZERO });
        let rows = [
            // speed        at once  waiting  working  to read
            (None, 1, 0, 0, 100),
            (None, 1, 3, 1, 0),
            (instant, 12, 100, 12, 0),
            (instant, 12, 99, 12, 100),
            // six connections and 10 ms
            (per_second(600), 12, 62, 12, 0),
            (per_second(600), 12, 61, 12, 100),
            // 100 ms
            (per_second(60), 12, 4, 12, 0),
            (per_second(60), 12, 3, 12, 36),
            (per_second(60), 12, 0, 12, 39),
            // 400 ms, and a second, and ten
            (per_second(15), 12, 1, 12, 0),
            (per_second(15), 12, 0, 12, 1),
            (per_second(15), 12, 0, 5, 7),
            (per_second(6), 6, 0, 6, 1),
            (Some(Speed { entries: 1, time: Duration::from_secs(10) }), 6, 0, 6, 1),
        ];
        for (speed, at_once, waiting, working, expected) in rows {
            let situation = format!("{speed:?}, {waiting} waiting, {working} worked on");
            assert_eq!(max_at_once(speed), at_once, "{situation}");
            assert_eq!(values_to_read(speed, SMALL, waiting, working), expected, "{situation}");
        }
    }

    #[test]
    fn no_more_is_read_than_fits() {
        let instant = Some(Speed { entries: 1, time: Duration::ZERO });
        let rows = [
            // speed           fits  waiting  working  to read
            (None, 4, 0, 0, 4),
            (instant, 140, 41, 12, 0),
            (instant, 140, 40, 12, 100),
            (per_second(60), 140, 4, 12, 0),
            (per_second(60), 140, 3, 12, 36),
            (instant, 16, 16, 12, 0),
            (instant, 16, 1, 12, 0),
            (instant, 16, 0, 12, 16),
            (per_second(60), 16, 3, 12, 0),
            (per_second(60), 16, 0, 12, 16),
            (instant, 4, 4, 4, 0),
            (per_second(6), 4, 0, 4, 1),
            (instant, 1, 1, 1, 0),
            (instant, 1, 0, 1, 1),
        ];
        for (speed, fit, waiting, working, expected) in rows {
            let situation = format!("{speed:?}, {fit} fit, {waiting} waiting, {working} worked on");
            let room = Room { to_read: fit.min(100), in_all: fit };
            assert_eq!(values_to_read(speed, room, waiting, working), expected, "{situation}");
        }
    }

    #[test]
    fn a_value_is_stale_if_it_would_wait_for_more_than_a_second_with_its_wait_for_a_connection() {
        let rows = [
            (None, 950, 0, false),
            (None, 951, 0, true),
            (per_second(600), 930, 11, false),
            (per_second(60), 850, 11, false),
            (per_second(60), 851, 11, true),
            (per_second(24), 700, 6, false),
            (per_second(24), 701, 6, true),
            (per_second(24), 950, 5, false),
            // One that was just read never is.
            (per_second(14), 0, 11, false),
            (per_second(1), 0, 5, false),
        ];
        for (speed, age, working, expected) in rows {
            let situation = format!("{speed:?}, {age} ms, {working} worked on");
            assert_eq!(is_stale(speed, Duration::from_millis(age), working), expected, "{situation}");
        }
    }

    #[test]
    fn what_is_read_is_worked_on_within_a_second() {
        for speed in 1..2_000 {
            for (waiting, working) in (0..300).flat_map(|waiting| [(waiting, 6), (waiting, 12)]) {
                let read = values_to_read(per_second(speed), SMALL, waiting, working);
                let last = (waiting + working + read) as u64;
                assert!(
                    read <= 1 || last * 1_000 <= speed * 1_000,
                    "{speed} a second: {waiting} {working} {read}"
                );
            }
        }
    }
}
