//! Limits how many operations wait for an answer at once.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The connections of one run. An operation holds one until it is answered. Clones share them.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Mutex<State>>);

struct State {
    free: usize,
    /// The waits of this run in their order, first come first served: `None` for those that are woken or over.
    waits: Vec<Option<Waker>>,
    /// No wait before this place is to be woken.
    next: usize,
    /// How many have a place. Without any, the places are used again.
    places: usize,
    /// How many places were looked at to find the next wait.
    #[cfg(test)]
    looked_at: usize,
}

impl Connections {
    pub(crate) fn new(free: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            free,
            waits: Vec::new(),
            next: 0,
            places: 0,
            #[cfg(test)]
            looked_at: 0,
        })))
    }

    /// Waits for a free connection, which the caller holds until it drops it.
    pub(crate) fn take(&self) -> impl Future<Output = Connection<'_>> {
        let mut wait = Some(Connection { connections: self, place: None, is_held: false });
        poll_fn(move |context| {
            let is_ready = wait.as_mut().is_some_and(|wait| wait.is_ready(context));
            wait.take_if(|_| is_ready).map_or(Poll::Pending, Poll::Ready)
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A wait is over: its task must not be woken in another's stead.
    fn leave(&mut self, place: Option<usize>) {
        if let Some(wait) = place.and_then(|place| self.waits.get_mut(place)) {
            *wait = None;
            self.places -= 1;
            if self.places == 0 {
                self.waits.clear();
                self.next = 0;
            }
        }
    }
}

/// A connection, or the wait for one.
pub(crate) struct Connection<'a> {
    connections: &'a Connections,
    /// Its place among the waits; `None` while it is not waiting.
    place: Option<usize>,
    is_held: bool,
}

impl Connection<'_> {
    /// Takes a connection if one is free; else the task is woken when one is.
    fn is_ready(&mut self, context: &mut Context<'_>) -> bool {
        let state = &mut *self.connections.state();
        if state.free > 0 {
            state.free -= 1;
            self.is_held = true;
            state.leave(self.place.take());
            return true;
        }
        let place = *self.place.get_or_insert(state.waits.len());
        let waker = Some(context.waker().clone());
        if let Some(wait) = state.waits.get_mut(place) {
            *wait = waker;
        } else {
            state.waits.push(waker);
            state.places += 1;
        }
        // It keeps its turn if another was faster.
        state.next = state.next.min(place);
        false
    }
}

/// Gives the connection or the place among the waits back. If a connection is free, the next wait is woken: this one may
/// have been woken in vain.
impl Drop for Connection<'_> {
    fn drop(&mut self) {
        let mut state = self.connections.state();
        state.free += usize::from(self.is_held);
        state.leave(self.place);
        let mut waker = None;
        while state.free > 0 && waker.is_none() {
            let next = state.next;
            let Some(wait) = state.waits.get_mut(next) else { break };
            waker = wait.take();
            state.next += 1;
            #[cfg(test)]
            {
                state.looked_at += 1;
            }
        }
        // A waker may run what it wakes.
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};

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
        connections.state().waits.iter().flatten().count()
    }

    /// With a search from the first to the last, they take a billion.
    #[test]
    fn the_next_of_50_000_waits_is_found_by_few_looks() {
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
        assert!(looked_at <= 50_000 * 3, "{looked_at}");
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
        assert_eq!(connections.state().next, 0, "the first is still before the second");
        drop(held);
        assert_eq!(connections.state().next, 1, "so it is woken");
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
    fn waits_that_are_over_take_no_memory() {
        let connections = Connections::new(1);
        for round in 0..1_000 {
            let held = connections.take().now_or_never().expect("it is free");
            let (mut first, mut second) = (pin!(connections.take()), pin!(connections.take()));
            assert!(poll(&mut first).is_none() && poll(&mut second).is_none(), "it is held");
            drop(held);
            drop(poll(&mut first).expect("it is its turn"));
            // The second is woken, and has not been polled: its place is not another's.
            let held = connections.take().now_or_never().expect("it is free");
            let mut third = pin!(connections.take());
            assert!(poll(&mut third).is_none(), "it is held");
            drop(held);
            drop(poll(&mut second).expect("it is its turn"));
            drop(poll(&mut third).expect("it is its turn"));
            let waits = connections.state().waits.len();
            assert!(waits <= 3, "{waits} places after {round} rounds of three waits");
        }
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
