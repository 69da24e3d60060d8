//! A store as far away as KV is, to see how long a migration takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join;
use kv_migrations::BoxFuture;
use kv_migrations::clock::{Clock, SystemClock};
use kv_migrations::kv::{Answer, KvError, Request, Store};

/// How many operations a Worker can have under way at once.
const CONNECTIONS: usize = 6;

/// Lets each operation take at least so long, and refuses a seventh beside six that are under way.
pub struct Slow {
    latency: Duration,
    under_way: AtomicUsize,
    store: Arc<dyn Store>,
}

impl Slow {
    pub fn new(milliseconds: u64, store: Arc<dyn Store>) -> Self {
        Self { latency: Duration::from_millis(milliseconds), under_way: AtomicUsize::new(0), store }
    }
}

impl Store for Slow {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(async move {
            let connection = Connection::open(&self.under_way);
            if connection.number > CONNECTIONS {
                return Err(
                    request.refused(Some(400), "more operations at once than a Worker has connections")
                );
            }
            let (answer, ()) = join(self.store.call(request), SystemClock.sleep(self.latency)).await;
            answer
        })
    }
}

/// Counts for as long as it is there.
struct Connection<'a> {
    under_way: &'a AtomicUsize,
    number: usize,
}

impl<'a> Connection<'a> {
    fn open(under_way: &'a AtomicUsize) -> Self {
        Self { under_way, number: under_way.fetch_add(1, Ordering::Relaxed) + 1 }
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
