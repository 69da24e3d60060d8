//! Wakes everything that waits in this instance for something to change.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Counts changes, and wakes those who wait for the next one. To wait costs the same however many others do.
#[derive(Default)]
pub(crate) struct Notify(Mutex<NotifyState>);

#[derive(Default)]
struct NotifyState {
    count: u64,
    /// Those who wait, by a number of their own.
    waiting: BTreeMap<u64, Waker>,
    next: u64,
}

/// One who waits, until it is dropped.
struct Waiting<'a> {
    notify: &'a Notify,
    number: u64,
}

impl Notify {
    pub(crate) fn notify(&self) {
        let waiting = {
            let mut state = self.state();
            state.count += 1;
            std::mem::take(&mut state.waiting)
        };
        for waker in waiting.into_values() {
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
        let waiting = Waiting { notify: self, number: self.next_number() };
        poll_fn(|context| {
            let mut state = self.state();
            if state.count > count {
                return Poll::Ready(());
            }
            state.waiting.insert(waiting.number, context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn next_number(&self) -> u64 {
        let mut state = self.state();
        state.next += 1;
        state.next
    }

    fn state(&self) -> MutexGuard<'_, NotifyState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.notify.state().waiting.remove(&self.number);
    }
}
