//! Wakes whoever waits in this instance for something to happen.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Rung whenever something has changed. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Bell(Arc<Mutex<Rung>>);

#[derive(Default)]
struct Rung {
    times: u64,
    waiting: Vec<Waker>,
}

impl Bell {
    pub(super) fn ring(&self) {
        let waiting = {
            let mut rung = self.rung();
            rung.times += 1;
            std::mem::take(&mut rung.waiting)
        };
        for waker in waiting {
            waker.wake();
        }
    }

    /// How often it has rung: what [`next`](Self::next) is told, so that no ring is missed.
    pub(super) fn times(&self) -> u64 {
        self.rung().times
    }

    /// Until it has rung more often than that.
    pub(super) async fn next(&self, times: u64) {
        poll_fn(|context| {
            let mut rung = self.rung();
            if rung.times > times {
                return Poll::Ready(());
            }
            if !rung.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                rung.waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    fn rung(&self) -> MutexGuard<'_, Rung> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
