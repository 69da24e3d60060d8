//! Who waits in this instance: for a reply, for the next change, or for events.

mod notify;
mod sharing;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::caller::Caller;
use super::error::CoordinatorError;
use super::storage::StorageError;
use crate::clock::between;
use crate::report::{Event, RollbackReport, RunReport};
pub(super) use notify::Notify;
use sharing::Sharing;

/// The oldest replies are dropped when there are more.
const MAX_REPLIES: usize = 16;

/// The least time between two checks whether the alarm got lost.
const MIN_CHECK_INTERVAL: Duration = Duration::from_secs(5);

type Listener = dyn Fn(&Event) + Send + Sync;

/// Receives events until it is dropped.
pub(super) struct Listening<'a> {
    waiters: &'a Waiters,
    number: u64,
}

/// Those who are told of events, by a number of their own.
#[derive(Default)]
struct Listeners {
    listening: BTreeMap<u64, Arc<Listener>>,
    next: u64,
}

/// What came of a task, or of its last step.
pub(super) struct Reply {
    /// The number of the task.
    pub(super) number: u64,
    /// Whether callers share the task who wait for a run.
    pub(super) is_shared: bool,
    /// Whether the task is over or paused, so that no further reply comes.
    pub(super) is_last: bool,
    pub(super) result: Result<TaskReport, CoordinatorError>,
}

#[derive(Clone)]
pub(super) enum TaskReport {
    Run(Box<RunReport>),
    Rollback(RollbackReport),
}

/// The latest replies, each with its number among all of them.
#[derive(Default)]
struct Replies {
    kept: Vec<(u64, Reply)>,
    count: u64,
}

#[derive(Default)]
pub(super) struct Waiters {
    /// Notified when a step has ended.
    pub(super) steps: Notify,
    /// Notified when a task has ended, is paused or waits to be retried: when another one may begin. Those who wait for
    /// the end of a run of many steps are not woken by each of them.
    pub(super) ends: Notify,
    /// Those who wait for the next run.
    pub(super) sharing: Sharing,
    replies: Mutex<Replies>,
    /// The row that the last alarm could not read, so that it did nothing.
    unreadable: Mutex<Option<StorageError>>,
    /// When it was last checked whether the alarm got lost.
    checked: Mutex<Option<SystemTime>>,
    listeners: Mutex<Listeners>,
}

impl Waiters {
    /// Replaces the reply of the task's step before.
    pub(super) fn reply(&self, reply: Reply) {
        let mut replies = locked(&self.replies);
        replies.count += 1;
        let count = replies.count;
        replies.kept.retain(|(_, other)| other.number != reply.number);
        replies.kept.push((count, reply));
        let excess = replies.kept.len().saturating_sub(MAX_REPLIES);
        replies.kept.drain(..excess);
    }

    /// How many replies there were.
    pub(super) fn replies(&self) -> u64 {
        locked(&self.replies).count
    }

    /// The reply of a task, if there is one; for a caller who waits for the end, only the last one. Several callers may
    /// share it.
    pub(super) fn reply_of(
        &self,
        number: u64,
        caller: &Caller,
    ) -> Option<Result<TaskReport, CoordinatorError>> {
        let replies = locked(&self.replies);
        let is_wanted = |reply: &&Reply| reply.number == number && (reply.is_last || !caller.waits_for_end);
        replies.kept.iter().map(|(_, reply)| reply).find(is_wanted).map(|reply| reply.result.clone())
    }

    /// Drops the reply of an earlier task with this number: if its row was lost, numbers begin again.
    pub(super) fn forget(&self, number: u64) {
        locked(&self.replies).kept.retain(|(_, reply)| reply.number != number);
    }

    /// Whether the caller should check whether the alarm got lost: not if another caller has done so a moment ago.
    pub(super) fn begin_check(&self, now: SystemTime) -> bool {
        let mut checked = locked(&self.checked);
        let is_due = checked.is_none_or(|at| now < at || between(at, now) >= MIN_CHECK_INTERVAL);
        if is_due {
            *checked = Some(now);
        }
        is_due
    }

    /// A run that has ended since there was this number of replies, and began after the task with this number.
    pub(super) fn ended_since(&self, count: u64, number: u64) -> Option<u64> {
        let replies = locked(&self.replies);
        let is_later = |(at, reply): &&(u64, Reply)| {
            *at > count && reply.is_last && reply.is_shared && reply.number > number
        };
        replies.kept.iter().find(is_later).map(|(_, reply)| reply.number)
    }

    /// The reply of this task is its last one: the task is given up.
    pub(super) fn close(&self, number: u64) {
        for (_, reply) in &mut locked(&self.replies).kept {
            reply.is_last |= reply.number == number;
        }
        self.notify_all();
    }

    pub(super) fn notify_all(&self) {
        self.steps.notify();
        self.ends.notify();
    }

    /// What a caller waits for who wants this reply.
    pub(super) fn changes_for(&self, caller: &Caller) -> &Notify {
        if caller.waits_for_end { &self.ends } else { &self.steps }
    }

    /// Sets which row keeps alarms from doing anything. Those who wait are told.
    pub(super) fn set_unreadable(&self, error: Option<StorageError>) {
        let is_set = error.is_some();
        *locked(&self.unreadable) = error;
        if is_set {
            self.notify_all();
        }
    }

    /// Fails if alarms do nothing, so that waiting is in vain.
    pub(super) fn check_readable(&self) -> Result<(), StorageError> {
        locked(&self.unreadable).clone().map_or(Ok(()), Err)
    }

    pub(super) fn listen(&self, listener: Arc<Listener>) -> Listening<'_> {
        let mut listeners = locked(&self.listeners);
        listeners.next += 1;
        let number = listeners.next;
        listeners.listening.insert(number, listener);
        Listening { waiters: self, number }
    }

    pub(super) fn tell(&self, event: &Event) {
        let listening: Vec<Arc<Listener>> = locked(&self.listeners).listening.values().cloned().collect();
        for listener in listening {
            listener(event);
        }
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        // The listener is dropped when the lock is free again: it belongs to the caller.
        let listener = locked(&self.waiters.listeners).listening.remove(&self.number);
        drop(listener);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_hangs_up_or_is_refused_leaves_nothing_behind_even_if_nothing_happens_any_more() {
        let waiters = Waiters::default();
        let told = Arc::new(Mutex::new(Vec::new()));
        let listen = |name: &'static str| {
            let told = told.clone();
            waiters.listen(Arc::new(move |_: &Event| locked(&told).push(name)))
        };
        let (first, second) = (listen("first"), listen("second"));
        drop(first);
        assert_eq!(Arc::strong_count(&told), 2, "the listener of the first is gone");
        assert_eq!(locked(&waiters.listeners).listening.len(), 1);
        waiters.tell(&Event::Paused { id: "001".to_owned() });
        assert_eq!(*locked(&told), ["second"]);
        drop(second);
        assert!(locked(&waiters.listeners).listening.is_empty());
    }
}
