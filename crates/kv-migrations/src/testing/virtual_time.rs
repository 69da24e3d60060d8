//! A clock whose time passes only when everything waits.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::{Clock, later};
use crate::future::BoxFuture;

/// A clock in virtual time: it stands still while a task can run, and jumps to the next wake-up once all tasks wait.
///
/// Work takes no time on it, and sleeping takes exactly as long as asked for: how long something takes is known at once
/// and is the same on every machine. Unlike on a [`ManualClock`](super::ManualClock), other tasks run while one
/// sleeps, so that this clock suits a [`Coordinator`](crate::coordinator::Coordinator). Only an
/// [`Executor`](super::Executor) makes it jump. Clones share the time.
///
/// # Example
/// ```
/// use kv_migrations::clock::Clock;
/// use kv_migrations::testing::VirtualTime;
/// use std::time::Duration;
///
/// let time = VirtualTime::default();
/// let start = time.now();
/// time.run(async { futures_util::join!(time.sleep(Duration::from_secs(5)), time.sleep(Duration::from_hours(1))) });
/// assert_eq!(time.now(), start + Duration::from_hours(1));
/// ```
#[derive(Clone)]
pub struct VirtualTime(Arc<Mutex<Timers>>);

struct Timers {
    now: SystemTime,
    /// Who waits until when. Those that wait for the same time wake in the order in which they began to wait.
    waiting: BTreeMap<(SystemTime, u64), Waker>,
    next_number: u64,
}

impl VirtualTime {
    /// Creates a clock that shows `time`.
    pub fn starting_at(time: SystemTime) -> Self {
        Self(Arc::new(Mutex::new(Timers { now: time, waiting: BTreeMap::new(), next_number: 0 })))
    }

    /// Moves the time forward without running anything. What slept until then wakes when the executor runs next.
    pub fn advance(&self, duration: Duration) {
        let mut timers = self.timers();
        timers.now = later(timers.now, duration);
    }

    /// Waits until `time`; not at all if that has passed.
    pub fn sleep_until(&self, time: SystemTime) -> impl Future<Output = ()> + Unpin + use<> {
        Sleep { time: self.clone(), until: time, waker: None }
    }

    /// Moves to the next wake-up, if anything sleeps.
    pub(super) fn jump(&self) -> bool {
        let due = {
            let mut timers = self.timers();
            let Some((&(next, _), _)) = timers.waiting.first_key_value() else { return false };
            timers.now = timers.now.max(next);
            let now = timers.now;
            let later = timers.waiting.split_off(&(now, u64::MAX));
            std::mem::replace(&mut timers.waiting, later)
        };
        due.into_values().for_each(Waker::wake);
        true
    }

    fn timers(&self) -> MutexGuard<'_, Timers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for VirtualTime {
    fn now(&self) -> SystemTime {
        self.timers().now
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(self.sleep_until(later(self.now(), duration)))
    }
}

/// Shows one second of 1970: an object refuses an alarm at the time zero.
impl Default for VirtualTime {
    fn default() -> Self {
        Self::starting_at(UNIX_EPOCH + Duration::from_secs(1))
    }
}

impl fmt::Debug for VirtualTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VirtualTime").field(&self.now()).finish()
    }
}

struct Sleep {
    time: VirtualTime,
    until: SystemTime,
    /// The task that waits, once it is among the timers.
    waker: Option<Waker>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let waker = context.waker();
        let is_known = self.waker.as_ref().is_some_and(|known| known.will_wake(waker));
        {
            let mut timers = self.time.timers();
            if timers.now >= self.until {
                return Poll::Ready(());
            }
            if !is_known {
                let number = timers.next_number;
                timers.next_number += 1;
                timers.waiting.insert((self.until, number), waker.clone());
            }
        }
        if !is_known {
            self.waker = Some(waker.clone());
        }
        Poll::Pending
    }
}
