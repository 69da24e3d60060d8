//! Times as numbers. A clock may be set back, and a time before 1970 counts as 1970: no function here fails.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time from `start` to `end`; zero if the clock was set back between them.
pub(crate) fn between(start: SystemTime, end: SystemTime) -> Duration {
    end.duration_since(start).unwrap_or_default()
}

/// The time from `start` to `end`, in milliseconds.
pub(crate) fn milliseconds_between(start: SystemTime, end: SystemTime) -> u64 {
    let time = between(start, end);
    // Right for 500 million years. Numbers of 128 bits would cost bytes in every user's wasm.
    time.as_secs().wrapping_mul(1_000).wrapping_add(u64::from(time.subsec_millis()))
}

/// Milliseconds since 1970, as rows hold a time.
pub(crate) fn milliseconds(time: SystemTime) -> u64 {
    milliseconds_between(UNIX_EPOCH, time)
}

/// The time this many milliseconds after the start of 1970.
pub(crate) fn at_milliseconds(milliseconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(milliseconds)
}

/// The time after a duration of any length. One that no clock can show is the last that rows can hold.
pub(crate) fn later(time: SystemTime, duration: Duration) -> SystemTime {
    time.checked_add(duration).unwrap_or_else(|| at_milliseconds(u64::MAX))
}

/// Whole seconds since 1970, as KV has a time.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    between(UNIX_EPOCH, time).as_secs()
}

const DAY: u64 = 24 * 60 * 60;

/// The number of the day (UTC), from 1970.
pub(crate) fn day(time: SystemTime) -> u64 {
    seconds(time) / DAY
}

/// The time until KV's daily quotas begin again: 00:00 UTC. A day that has just begun may not have begun for KV yet.
pub(crate) fn until_quota_begins(now: SystemTime) -> Duration {
    const TOLERANCE: u64 = 10 * 60;
    let second = seconds(now) % DAY;
    let next = if second < TOLERANCE { TOLERANCE } else { DAY };
    Duration::from_secs(next - second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_begin_at_midnight_and_are_tried_again_soon_after_it() {
        let midnight = 1_795_305_600;
        let until = |second: u64| until_quota_begins(at_milliseconds(1_000 * (midnight + second))).as_secs();
        assert_eq!(until(600), 24 * 60 * 60 - 600);
        assert_eq!(until(24 * 60 * 60 - 1), 1);
        assert_eq!(until(0), 600, "KV's clock may be late");
        assert_eq!(until(599), 1);
    }

    #[test]
    fn a_time_that_no_clock_can_show_is_the_last_one() {
        assert_eq!(later(UNIX_EPOCH, Duration::from_millis(5)), at_milliseconds(5));
        assert_eq!(later(at_milliseconds(5), Duration::MAX), at_milliseconds(u64::MAX));
    }
}
