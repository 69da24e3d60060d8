//! A clock that a test sets.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::clock::{Clock, at_milliseconds, milliseconds};
use crate::future::BoxFuture;

/// A clock on which time passes only when a test says so. Sleeping moves it forward and takes no time.
///
/// Clones share the time. It counts in milliseconds, as a Worker's clock does.
///
/// # Example
/// ```
/// use kv_migrations::clock::Clock;
/// use kv_migrations::testing::ManualClock;
/// use std::time::{Duration, UNIX_EPOCH};
///
/// let start = UNIX_EPOCH + Duration::from_secs(1_795_344_508);
/// let clock = ManualClock::starting_at(start);
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now(), start + Duration::from_secs(60));
/// ```
#[derive(Clone, Default)]
pub struct ManualClock {
    milliseconds: Arc<AtomicU64>,
}

impl ManualClock {
    /// Creates a clock that shows `time`.
    pub fn starting_at(time: SystemTime) -> Self {
        Self { milliseconds: Arc::new(AtomicU64::new(milliseconds(time))) }
    }

    /// Moves the time forward.
    pub fn advance(&self, duration: Duration) {
        let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let later = |now: u64| Some(now.saturating_add(milliseconds));
        // It never refuses.
        let _ = self.milliseconds.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        at_milliseconds(self.milliseconds.load(Ordering::Relaxed))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.advance(duration) })
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ManualClock").field(&self.now()).finish()
    }
}
