//! Limits how many operations wait for an answer at once.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The connections of one run. An operation holds one until it is answered. Clones share them.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Mutex<State>>);

struct State {
    free: usize,
    /// Waiting tasks, first come first served. Each has one place, however often it is polled.
    waiting: Vec<(u64, Waker)>,
    next_ticket: u64,
}

impl Connections {
    pub(crate) fn new(free: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free, waiting: Vec::new(), next_ticket: 0 })))
    }

    /// Waits for a free connection, which the caller holds until it drops it.
    pub(crate) fn take(&self) -> impl Future<Output = Connection<'_>> {
        Free { connections: self, ticket: None }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_next(&self) {
        let mut state = self.state();
        if state.waiting.is_empty() {
            return;
        }
        let (_, waker) = state.waiting.remove(0);
        drop(state);
        waker.wake();
    }
}

impl State {
    fn place(&mut self, ticket: u64) -> Option<usize> {
        self.waiting.iter().position(|(other, _)| *other == ticket)
    }
}

/// The wait for a connection.
struct Free<'a> {
    connections: &'a Connections,
    /// `None` while it is not waiting.
    ticket: Option<u64>,
}

impl<'a> Future for Free<'a> {
    type Output = Connection<'a>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Connection<'a>> {
        let connections = self.connections;
        let mut state = connections.state();
        if state.free > 0 {
            state.free -= 1;
            if let Some(place) = self.ticket.take().and_then(|ticket| state.place(ticket)) {
                state.waiting.remove(place);
            }
            return Poll::Ready(Connection(connections));
        }
        let ticket = self.ticket.unwrap_or(state.next_ticket);
        if self.ticket.replace(ticket).is_none() {
            state.next_ticket += 1;
        }
        let place = state.place(ticket);
        let waiting = (ticket, context.waker().clone());
        match place.and_then(|place| state.waiting.get_mut(place)) {
            Some(place) => *place = waiting,
            None => state.waiting.push(waiting),
        }
        Poll::Pending
    }
}

/// A wait that is dropped frees its place. If it had been woken already, it wakes the next one.
impl Drop for Free<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut state = self.connections.state();
        let place = state.place(ticket);
        if let Some(place) = place {
            state.waiting.remove(place);
        }
        let was_woken = place.is_none() && state.free > 0;
        drop(state);
        if was_woken {
            self.connections.wake_next();
        }
    }
}

pub(crate) struct Connection<'a>(&'a Connections);

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.0.state().free += 1;
        self.0.wake_next();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;
    use futures_util::task::noop_waker;

    use super::*;

    fn poll<'a>(wait: &mut Pin<&mut impl Future<Output = Connection<'a>>>) -> Option<Connection<'a>> {
        match wait.as_mut().poll(&mut Context::from_waker(&noop_waker())) {
            Poll::Ready(connection) => Some(connection),
            Poll::Pending => None,
        }
    }

    fn places(connections: &Connections) -> usize {
        connections.state().waiting.len()
    }

    #[test]
    fn a_wait_that_is_polled_often_has_one_place() {
        let connections = Connections::new(1);
        let held = connections.take().now_or_never().expect("it is free");
        let (mut first, mut second) = (pin!(connections.take()), pin!(connections.take()));
        for _ in 0..3 {
            assert!(poll(&mut first).is_none() && poll(&mut second).is_none(), "it is held");
        }
        assert_eq!(places(&connections), 2);
        drop(held);
        assert_eq!(places(&connections), 1, "one is woken");
        let held = poll(&mut first).expect("it is free");
        drop(held);
        assert_eq!(places(&connections), 0, "the other is woken");
        assert!(poll(&mut second).is_some());
    }

    #[test]
    fn a_woken_wait_that_is_dropped_wakes_the_next() {
        let connections = Connections::new(1);
        let held = connections.take().now_or_never().expect("it is free");
        let mut second = pin!(connections.take());
        {
            let mut first = pin!(connections.take());
            assert!(poll(&mut first).is_none() && poll(&mut second).is_none(), "it is held");
            drop(held);
            assert_eq!(places(&connections), 1, "the first is woken, but gives up");
        }
        assert_eq!(places(&connections), 0, "so the second is woken");
        assert!(poll(&mut second).is_some());
    }

    #[test]
    fn a_wait_that_is_dropped_leaves_no_place() {
        let connections = Connections::new(1);
        let _held = connections.take().now_or_never().expect("it is free");
        {
            let mut first = pin!(connections.take());
            assert!(poll(&mut first).is_none(), "it is held");
        }
        assert_eq!(places(&connections), 0);
    }
}
