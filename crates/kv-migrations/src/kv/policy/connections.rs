//! Limits how many operations wait for an answer at once.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The connections of one run. An operation holds one until it is answered. Clones share them.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Mutex<State>>);

struct State {
    free: usize,
    /// Waiting tasks in the order of their tickets, first come first served. Each has one place, however often it is polled.
    waiting: VecDeque<(u64, Waker)>,
    next_ticket: u64,
    /// How many tickets were looked at to find places.
    #[cfg(test)]
    looked_at: usize,
}

impl Connections {
    pub(crate) fn new(free: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            free,
            waiting: VecDeque::new(),
            next_ticket: 0,
            #[cfg(test)]
            looked_at: 0,
        })))
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
        let next = state.waiting.pop_front();
        drop(state);
        if let Some((_, waker)) = next {
            waker.wake();
        }
    }
}

impl State {
    /// The place of a ticket, or where it belongs.
    fn place(&mut self, ticket: u64) -> Result<usize, usize> {
        self.waiting.binary_search_by(|(other, _)| {
            #[cfg(test)]
            {
                self.looked_at += 1;
            }
            other.cmp(&ticket)
        })
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
            if let Some(Ok(place)) = self.ticket.take().map(|ticket| state.place(ticket)) {
                state.waiting.remove(place);
            }
            return Poll::Ready(Connection(connections));
        }
        let ticket = self.ticket.unwrap_or(state.next_ticket);
        if self.ticket.replace(ticket).is_none() {
            state.next_ticket += 1;
        }
        let waiting = (ticket, context.waker().clone());
        match state.place(ticket) {
            Ok(place) => drop(state.waiting.get_mut(place).map(|place| *place = waiting)),
            Err(place) => state.waiting.insert(place, waiting),
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
        if let Ok(place) = place {
            state.waiting.remove(place);
        }
        let was_woken = place.is_err() && state.free > 0;
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

    /// With a search from the first to the last, they take a billion.
    #[test]
    fn the_places_of_50_000_waits_are_found_by_few_looks_each() {
        let connections = Connections::new(1);
        let held = connections.take().now_or_never().expect("it is free");
        let mut waits: Vec<_> = (0..50_000).map(|_| Box::pin(connections.take())).collect();
        for wait in &mut waits {
            assert!(poll(&mut wait.as_mut()).is_none(), "it is held");
        }
        drop(held);
        for wait in &mut waits {
            drop(poll(&mut wait.as_mut()).expect("the one before is done"));
        }
        drop(waits);
        let looked_at = connections.state().looked_at;
        assert!(looked_at <= 50_000 * 50, "{looked_at}");
    }

    #[test]
    fn a_woken_wait_that_finds_the_connection_taken_keeps_its_turn() {
        let connections = Connections::new(1);
        let held = connections.take().now_or_never().expect("it is free");
        let (mut first, mut second) = (pin!(connections.take()), pin!(connections.take()));
        assert!(poll(&mut first).is_none() && poll(&mut second).is_none(), "it is held");
        drop(held);
        let held = connections.take().now_or_never().expect("the first is woken, and has not been polled");
        assert!(poll(&mut first).is_none(), "another was faster");
        let first_ticket = connections.state().waiting.front().map(|(ticket, _)| *ticket);
        assert_eq!(first_ticket, Some(0), "the first is still before the second");
        drop(held);
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
