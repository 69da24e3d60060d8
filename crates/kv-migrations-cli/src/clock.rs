//! Time, injected: tests wait in no time.

use std::thread;
use std::time::{Duration, Instant};

pub(crate) trait Clock {
    /// How long the program has run.
    fn now(&self) -> Duration;

    fn sleep(&self, duration: Duration);
}

pub(crate) struct SystemClock(Instant);

impl SystemClock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, duration: Duration) {
        thread::sleep(duration);
    }
}
