//! The contract of a clock, and the machine's own.

use std::time::{Duration, SystemTime};

use super::calendar;
use crate::future::BoxFuture;

/// Tells the time, and waits.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> SystemTime;

    /// Waits for this long.
    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()>;
}

/// The machine's own clock.
///
/// In a Worker it stands still between two operations with the outside (KV, fetch): Cloudflare's protection against
/// timing attacks. Outside of a Worker, [`sleep`](Clock::sleep) blocks the thread.
///
/// Source: <https://developers.cloudflare.com/workers/reference/security-model/>.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        calendar::now()
    }

    #[cfg(target_arch = "wasm32")]
    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(super::timer::Timer::start(duration))
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move { std::thread::sleep(duration) })
    }
}
