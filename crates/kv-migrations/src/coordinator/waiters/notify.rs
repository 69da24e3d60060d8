//! Wakes everything that waits in this instance for something to change.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Counts changes, and wakes those who wait for the next one.
#[derive(Default)]
pub(crate) struct Notify(Mutex<NotifyState>);

#[derive(Default)]
struct NotifyState {
    count: u64,
    waiting: Vec<Waker>,
}

impl Notify {
    pub(crate) fn notify(&self) {
        let waiting = {
            let mut state = self.state();
            state.count += 1;
            std::mem::take(&mut state.waiting)
        };
        for waker in waiting {
            waker.wake();
        }
    }

    /// How often it was notified. [`notified_since`](Self::notified_since) takes this number, so that no notification
    /// is missed between the two.
    pub(crate) fn count(&self) -> u64 {
        self.state().count
    }

    /// Waits until it was notified more often than that.
    pub(crate) async fn notified_since(&self, count: u64) {
        poll_fn(|context| {
            let mut state = self.state();
            if state.count > count {
                return Poll::Ready(());
            }
            if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                state.waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    fn state(&self) -> MutexGuard<'_, NotifyState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
