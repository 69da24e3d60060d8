//! When a world begins, and clocks that are wrong.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kv_migrations::BoxFuture;
use kv_migrations::clock::Clock;
use kv_migrations::testing::VirtualTime;

use crate::random::Random;

/// The longest time until all locations see a write.
pub const DELAY: Duration = Duration::from_mins(1);

/// When every world begins: 2026-11-22T10:48:28.706Z.
pub fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_795_344_508_706)
}

/// Whole seconds since 1970, as KV has a time.
pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A clock that is up to two seconds ahead or behind.
#[derive(Debug, Clone)]
pub struct SkewedClock {
    time: VirtualTime,
    /// How far it is ahead, in milliseconds.
    pub skew: i64,
}

impl SkewedClock {
    /// Draws how wrong it is.
    pub fn draw(time: &VirtualTime, random: &Random) -> Self {
        let skew = i64::try_from(random.between(0..=4_000)).unwrap_or(0) - 2_000;
        Self { time: time.clone(), skew }
    }
}

impl Clock for SkewedClock {
    fn now(&self) -> SystemTime {
        let (now, skew) = (self.time.now(), Duration::from_millis(self.skew.unsigned_abs()));
        if self.skew < 0 { now - skew } else { now + skew }
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        self.time.sleep(duration)
    }
}
