//! Keeps to the connections that a Worker has.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::future::LocalBoxFuture;

use super::{Answer, KvError, Request, Store};

/// The connections of one run: an operation holds one until it is answered. Clones are the same.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Mutex<State>>);

struct State {
    free: usize,
    waiting: VecDeque<Waker>,
}

impl Connections {
    pub(crate) fn new(free: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free, waiting: VecDeque::new() })))
    }

    /// Waits for a free one, and holds it until it is dropped.
    pub(crate) fn take(&self) -> impl Future<Output = Connection<'_>> {
        Free(self)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_next(&self) {
        let next = self.state().waiting.pop_front();
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

/// The wait for a connection.
struct Free<'a>(&'a Connections);

impl<'a> Future for Free<'a> {
    type Output = Connection<'a>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Connection<'a>> {
        let mut state = self.0.state();
        if state.free == 0 {
            state.waiting.push_back(context.waker().clone());
            return Poll::Pending;
        }
        state.free -= 1;
        Poll::Ready(Connection(self.0))
    }
}

/// One who gave up waiting may have been the one that was woken.
impl Drop for Free<'_> {
    fn drop(&mut self) {
        let is_free = self.0.state().free > 0;
        if is_free {
            self.0.wake_next();
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

/// Sends as many operations at once as a Worker has connections; the others wait for their turn.
pub(crate) struct Limited {
    pub(crate) connections: Connections,
    pub(crate) store: Arc<dyn Store>,
}

impl Store for Limited {
    fn call<'a>(&'a self, request: Request<'a>) -> LocalBoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(async move {
            let _connection = self.connections.take().await;
            self.store.call(request).await
        })
    }
}
