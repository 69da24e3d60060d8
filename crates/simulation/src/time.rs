//! Time that passes only when everything waits: it jumps to what is waited for next.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kv_migrations::BoxFuture;
use kv_migrations::clock::Clock;

/// When every world begins: 2026-11-22T10:48:28.706Z, in milliseconds since 1970.
const START: i64 = 1_795_344_508_706;

/// The time of a world, in milliseconds since 1970. Clones are the same.
#[derive(Debug, Clone)]
pub struct Time(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    now: i64,
    waiting: BinaryHeap<Reverse<Timer>>,
    next_number: u64,
}

impl Time {
    /// The beginning.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Inner { now: START, waiting: BinaryHeap::new(), next_number: 0 })))
    }

    /// Milliseconds since 1970.
    pub fn now(&self) -> i64 {
        self.inner().now
    }

    /// Milliseconds since the beginning.
    pub fn elapsed(&self) -> i64 {
        self.now() - START
    }

    /// Lets time pass though nobody waits for it.
    pub fn pass(&self, duration: Duration) {
        self.inner().now += milliseconds(duration);
    }

    /// To what is waited for next; false if nobody waits.
    pub fn advance(&self) -> bool {
        let mut due = Vec::new();
        {
            let mut inner = self.inner();
            let Some(Reverse(next)) = inner.waiting.peek() else { return false };
            inner.now = inner.now.max(next.at);
            let now = inner.now;
            while inner.waiting.peek().is_some_and(|Reverse(timer)| timer.at <= now) {
                due.extend(inner.waiting.pop().map(|Reverse(timer)| timer.waker));
            }
        }
        due.into_iter().for_each(Waker::wake);
        true
    }

    /// Waits.
    pub fn sleep(&self, milliseconds: i64) -> Sleep {
        self.sleep_until(self.now() + milliseconds)
    }

    /// Waits.
    pub fn sleep_until(&self, at: i64) -> Sleep {
        Sleep { time: self.clone(), at, waker: None }
    }

    /// A clock that is wrong by so many milliseconds.
    pub fn clock(&self, skew: i64) -> Arc<dyn Clock> {
        Arc::new(Skewed { time: self.clone(), skew })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Time {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Debug)]
struct Timer {
    at: i64,
    number: u64,
    waker: Waker,
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Timer {}

/// The wait for a time.
#[derive(Debug)]
pub struct Sleep {
    time: Time,
    at: i64,
    waker: Option<Waker>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let waker = context.waker();
        let is_known = self.waker.as_ref().is_some_and(|known| known.will_wake(waker));
        {
            let mut inner = self.time.inner();
            if inner.now >= self.at {
                return Poll::Ready(());
            }
            if !is_known {
                let number = inner.next_number;
                inner.next_number += 1;
                inner.waiting.push(Reverse(Timer { at: self.at, number, waker: waker.clone() }));
            }
        }
        if !is_known {
            self.waker = Some(waker.clone());
        }
        Poll::Pending
    }
}

struct Skewed {
    time: Time,
    skew: i64,
}

impl Clock for Skewed {
    fn now(&self) -> SystemTime {
        let milliseconds = u64::try_from(self.time.now() + self.skew).unwrap_or(0);
        UNIX_EPOCH + Duration::from_millis(milliseconds)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(self.time.sleep(milliseconds(duration)))
    }
}

/// Milliseconds since 1970.
pub fn since_1970(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, milliseconds)
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
