//! Time, injected: what a run asks the time of, and waits with.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::LocalBoxFuture;

/// Tells the time, and lets it pass.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> DateTime<Utc>;

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
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
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
/// Clones show the same time.
///
/// # Example
/// ```
/// use kv_migrations::clock::{Clock, ManualClock};
/// use std::time::Duration;
///
/// let clock = ManualClock::at("2026-11-22T10:48:28.706Z".parse().unwrap());
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now().to_rfc3339(), "2026-11-22T10:49:28.706+00:00");
/// ```
#[derive(Clone, Default)]
pub struct ManualClock {
    milliseconds: Arc<AtomicI64>,
}

impl ManualClock {
    /// A clock that shows `time`.
    pub fn at(time: DateTime<Utc>) -> Self {
        Self { milliseconds: Arc::new(AtomicI64::new(time.timestamp_millis())) }
    }

    /// Lets time pass.
    pub fn advance(&self, duration: Duration) {
        let milliseconds = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        self.milliseconds.fetch_add(milliseconds, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.milliseconds.load(Ordering::Relaxed)).unwrap_or_default()
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

/// `2026-11-22T10:48:28.706Z`: what JavaScript's `toISOString` writes, and so what markers hold.
#[cfg(not(all(feature = "worker", target_arch = "wasm32")))]
pub(crate) fn iso8601(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// The same, written by JavaScript itself: the wasm needs no calendar for it.
#[cfg(all(feature = "worker", target_arch = "wasm32"))]
#[allow(clippy::cast_precision_loss, reason = "milliseconds of 200,000 years are exact")]
pub(crate) fn iso8601(time: DateTime<Utc>) -> String {
    let milliseconds = time.timestamp_millis() as f64;
    worker::js_sys::Date::new(&milliseconds.into()).to_iso_string().into()
}

/// Milliseconds from `start` to `end`, 0 if the clock was set back between them.
pub(crate) fn milliseconds_between(start: DateTime<Utc>, end: DateTime<Utc>) -> u64 {
    u64::try_from(end.timestamp_millis().saturating_sub(start.timestamp_millis())).unwrap_or(0)
}
