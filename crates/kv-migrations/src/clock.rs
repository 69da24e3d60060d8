//! Time, injected: what a run asks the time of, and waits with.

mod calendar;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::LocalBoxFuture;

pub(crate) use calendar::{iso8601, parse_iso8601};

/// Tells the time, and lets it pass.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> SystemTime;

    /// Waits.
    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'_, ()>;
}

/// The machine's own clock.
///
/// In a Worker it stands still between two operations with the outside (KV, fetch): Cloudflare's protection against
/// timing attacks. Without the feature `worker` its [`sleep`](Clock::sleep) blocks the thread.
///
/// Source: <https://developers.cloudflare.com/workers/reference/security-model/>.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        calendar::now()
    }

    #[cfg(all(feature = "worker", target_arch = "wasm32"))]
    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'_, ()> {
        Box::pin(worker::Delay::from(duration))
    }

    #[cfg(not(all(feature = "worker", target_arch = "wasm32")))]
    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'_, ()> {
        Box::pin(async move { std::thread::sleep(duration) })
    }
}

/// A clock that a test sets: time passes only when it is told to, and sleeping takes none.
///
/// Clones show the same time. It counts in milliseconds, as a Worker's clock does.
///
/// # Example
/// ```
/// use kv_migrations::clock::{Clock, ManualClock};
/// use std::time::{Duration, UNIX_EPOCH};
///
/// let start = UNIX_EPOCH + Duration::from_secs(1_795_344_508);
/// let clock = ManualClock::at(start);
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now(), start + Duration::from_secs(60));
/// ```
#[derive(Clone, Default)]
pub struct ManualClock {
    milliseconds: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that shows `time`.
    pub fn at(time: SystemTime) -> Self {
        Self { milliseconds: Arc::new(AtomicU64::new(milliseconds(time))) }
    }

    /// Lets time pass.
    pub fn advance(&self, duration: Duration) {
        let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.milliseconds.fetch_add(milliseconds, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        at_milliseconds(self.milliseconds.load(Ordering::Relaxed))
    }

    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'_, ()> {
        Box::pin(async move { self.advance(duration) })
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ManualClock").field(&self.now()).finish()
    }
}

/// From `start` to `end`; nothing if the clock was set back between them.
pub(crate) fn between(start: SystemTime, end: SystemTime) -> Duration {
    end.duration_since(start).unwrap_or_default()
}

/// From `start` to `end`, in milliseconds.
pub(crate) fn milliseconds_between(start: SystemTime, end: SystemTime) -> u64 {
    u64::try_from(between(start, end).as_millis()).unwrap_or(u64::MAX)
}

/// As rows hold it: in milliseconds since 1970.
pub(crate) fn milliseconds(time: SystemTime) -> u64 {
    milliseconds_between(UNIX_EPOCH, time)
}

/// The time that is so many milliseconds after 1970 began.
pub(crate) fn at_milliseconds(milliseconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(milliseconds)
}

/// As KV has it: in seconds since 1970, parts of a second cut off.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    between(UNIX_EPOCH, time).as_secs()
}
