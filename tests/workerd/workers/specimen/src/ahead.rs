//! A clock that is ahead, so that no test waits.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kv_migrations::BoxFuture;
use kv_migrations::clock::{Clock, SystemClock};

struct Ahead(Duration);

/// The clock of the machine, and a number of seconds.
pub fn clock(seconds: u64) -> Arc<dyn Clock> {
    Arc::new(Ahead(Duration::from_secs(seconds)))
}

impl Clock for Ahead {
    fn now(&self) -> SystemTime {
        SystemClock.now() + self.0
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        SystemClock.sleep(duration)
    }
}
