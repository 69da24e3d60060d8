//! Counts the operations that reach a store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::LocalBoxFuture;

use super::{Answer, KvError, Request, Store};

/// How many operations were sent, failed ones included: Cloudflare counts those too. Clones share the count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counter(Arc<AtomicU64>);

impl Counter {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Adds one to its counter for every operation.
pub(crate) struct Counted {
    pub(crate) counter: Counter,
    pub(crate) store: Arc<dyn Store>,
}

impl Store for Counted {
    fn call<'a>(&'a self, request: Request<'a>) -> LocalBoxFuture<'a, Result<Answer, KvError>> {
        self.counter.0.fetch_add(1, Ordering::Relaxed);
        self.store.call(request)
    }
}
