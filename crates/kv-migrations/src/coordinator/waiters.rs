//! Who waits in this instance: for a reply, for the next change, or for events.

mod notify;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::caller::Caller;
use super::error::CoordinatorError;
use super::storage::StorageError;
use crate::report::{Event, RollbackReport, RunReport};
use notify::Notify;

/// Replies that nobody fetched are dropped when there are more.
const MAX_REPLIES: usize = 16;

/// Receives events for as long as the caller holds it.
pub(super) type Listener = dyn Fn(&Event) + Send + Sync;

/// What came of a task, or of its last step.
pub(super) struct Reply {
    /// The number of the task.
    pub(super) number: u64,
    /// Whether the task is over or paused, so that no further reply comes.
    pub(super) is_last: bool,
    pub(super) result: Result<TaskReport, CoordinatorError>,
}

pub(super) enum TaskReport {
    Run(RunReport),
    Rollback(RollbackReport),
}

#[derive(Default)]
pub(super) struct Waiters {
    /// Notified whenever those who wait should look again.
    pub(super) changes: Notify,
    replies: Mutex<Vec<Reply>>,
    /// The row that the last alarm could not read, so that it did nothing.
    unreadable: Mutex<Option<StorageError>>,
    listeners: Mutex<Vec<Weak<Listener>>>,
}

impl Waiters {
    /// Replaces the reply of the task's step before.
    pub(super) fn reply(&self, reply: Reply) {
        let mut replies = locked(&self.replies);
        replies.retain(|other| other.number != reply.number);
        replies.push(reply);
        let excess = replies.len().saturating_sub(MAX_REPLIES);
        replies.drain(..excess);
    }

    /// The reply of a task, if there is one; for a caller who waits for the end, only the last one.
    pub(super) fn take_reply(
        &self,
        number: u64,
        caller: &Caller,
    ) -> Option<Result<TaskReport, CoordinatorError>> {
        let mut replies = locked(&self.replies);
        let is_wanted = |reply: &Reply| reply.number == number && (reply.is_last || !caller.waits_for_end);
        let index = replies.iter().position(is_wanted)?;
        Some(replies.remove(index).result)
    }

    /// Drops the reply of an earlier task with this number: if its row was lost, numbers begin again.
    pub(super) fn forget(&self, number: u64) {
        locked(&self.replies).retain(|reply| reply.number != number);
    }

    /// The reply of this task is its last one: the task is given up.
    pub(super) fn close(&self, number: u64) {
        for reply in locked(&self.replies).iter_mut().filter(|reply| reply.number == number) {
            reply.is_last = true;
        }
    }

    /// Sets which row keeps alarms from doing anything. Those who wait are told.
    pub(super) fn set_unreadable(&self, error: Option<StorageError>) {
        let is_set = error.is_some();
        *locked(&self.unreadable) = error;
        if is_set {
            self.changes.notify();
        }
    }

    /// Fails if alarms do nothing, so that waiting is in vain.
    pub(super) fn check_readable(&self) -> Result<(), StorageError> {
        locked(&self.unreadable).clone().map_or(Ok(()), Err)
    }

    pub(super) fn listen(&self, listener: &Arc<Listener>) {
        locked(&self.listeners).push(Arc::downgrade(listener));
    }

    pub(super) fn tell(&self, event: &Event) {
        let listeners = {
            let mut listeners = locked(&self.listeners);
            listeners.retain(|listener| listener.strong_count() > 0);
            listeners.clone()
        };
        for listener in listeners.iter().filter_map(Weak::upgrade) {
            listener(event);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
