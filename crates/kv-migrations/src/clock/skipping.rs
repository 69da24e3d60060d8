//! A clock that skips waits.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::{Clock, later};
use crate::future::BoxFuture;

/// Shows the time of another clock, and as much more as was slept by this one.
pub(crate) struct SkippingClock {
    clock: Arc<dyn Clock>,
    milliseconds: AtomicU64,
}

impl SkippingClock {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, milliseconds: AtomicU64::new(0) }
    }

    /// The time that was skipped, in milliseconds.
    pub(crate) fn skipped(&self) -> u64 {
        self.milliseconds.load(Ordering::Relaxed)
    }

    pub(crate) fn skip(&self, duration: Duration) {
        let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.milliseconds.store(self.skipped().saturating_add(milliseconds), Ordering::Relaxed);
    }
}

impl Clock for SkippingClock {
    fn now(&self) -> SystemTime {
        later(self.clock.now(), Duration::from_millis(self.skipped()))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        self.skip(duration);
        Box::pin(ready(()))
    }
}
