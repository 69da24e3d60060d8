//! Limits how many operations wait for an answer at once.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The connections of one run. An operation holds one until it is answered. Clones share them.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Mutex<State>>);

struct State {
    free: usize,
    /// The tasks that wait. All are woken when a connection is free: which of them still wait is not known.
    waiting: Vec<Waker>,
}

impl Connections {
    pub(crate) fn new(free: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free, waiting: Vec::new() })))
    }

    /// Waits for a free connection, which the caller holds until it drops it.
    pub(crate) fn take(&self) -> impl Future<Output = Connection<'_>> {
        poll_fn(|context| self.poll(context))
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Connection<'_>> {
        let State { free, waiting } = &mut *self.state();
        if *free > 0 {
            *free -= 1;
            return Poll::Ready(Connection(self));
        }
        // A task has one place, however many operations it waits for and however often it is polled.
        if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
        Poll::Pending
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Connection<'a>(&'a Connections);

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.free += 1;
        let waiting = std::mem::take(&mut state.waiting);
        // A waker may run what it wakes.
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Wake;

    use futures_util::FutureExt;

    use super::*;

    /// Counts how often its task is woken.
    #[derive(Default)]
    struct Task(AtomicU64);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll<'a>(
        wait: &mut Pin<&mut impl Future<Output = Connection<'a>>>,
        task: &Arc<Task>,
    ) -> Option<Connection<'a>> {
        match wait.as_mut().poll(&mut Context::from_waker(&Waker::from(task.clone()))) {
            Poll::Ready(connection) => Some(connection),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_task_that_waits_for_several_connections_is_woken_once() {
        let (connections, task) = (Connections::new(1), Arc::new(Task::default()));
        let held = connections.take().now_or_never().expect("it is free");
        let (mut first, mut second) = (pin!(connections.take()), pin!(connections.take()));
        for _ in 0..3 {
            assert!(poll(&mut first, &task).is_none() && poll(&mut second, &task).is_none(), "it is held");
        }
        assert_eq!(connections.state().waiting.len(), 1);
        drop(held);
        assert_eq!(task.0.load(Ordering::Relaxed), 1);
        let held = poll(&mut first, &task).expect("it is free");
        assert!(poll(&mut second, &task).is_none(), "there is only one");
        drop(held);
        assert_eq!(task.0.load(Ordering::Relaxed), 2, "it waits again");
        assert!(poll(&mut second, &task).is_some());
    }

    #[test]
    fn a_wait_that_is_dropped_keeps_no_other_waiting() {
        let (connections, gone, task) =
            (Connections::new(1), Arc::new(Task::default()), Arc::new(Task::default()));
        let held = connections.take().now_or_never().expect("it is free");
        let mut second = pin!(connections.take());
        {
            let mut first = pin!(connections.take());
            assert!(poll(&mut first, &gone).is_none() && poll(&mut second, &task).is_none(), "it is held");
        }
        drop(held);
        assert_eq!(task.0.load(Ordering::Relaxed), 1, "it is woken, whoever came before it");
        assert!(poll(&mut second, &task).is_some());
    }
}
