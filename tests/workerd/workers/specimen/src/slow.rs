//! A store as far away as KV is, to see how long a migration takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{LocalBoxFuture, join};
use futures_util::lock::Mutex;
use kv_migrations::kv::{Answer, KvError, Request, Store};
use worker::Delay;

/// How many operations a Worker has under way at once.
const CONNECTIONS: usize = 6;

/// Lets each operation take at least so long, and no more than six at once.
pub struct Slow {
    latency: Duration,
    connections: [Mutex<()>; CONNECTIONS],
    operations: AtomicUsize,
    store: Arc<dyn Store>,
}

impl Slow {
    pub fn new(milliseconds: u64, store: Arc<dyn Store>) -> Self {
        let latency = Duration::from_millis(milliseconds);
        Self { latency, connections: Default::default(), operations: AtomicUsize::new(0), store }
    }
}

impl Store for Slow {
    fn call<'a>(&'a self, request: Request<'a>) -> LocalBoxFuture<'a, Result<Answer, KvError>> {
        // All take the same time: in turn is as good as the next that is free.
        let turn = self.operations.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let connection = self.connections.iter().cycle().nth(turn % CONNECTIONS);
            let _held = match connection {
                Some(connection) => Some(connection.lock().await),
                None => None,
            };
            let (answer, ()) = join(self.store.call(request), Delay::from(self.latency)).await;
            answer
        })
    }
}
