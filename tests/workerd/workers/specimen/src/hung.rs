//! A store that falls silent, so that a test can kill the process at a certain point.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kv_migrations::BoxFuture;
use kv_migrations::kv::{Answer, KvError, Request, Store};
use worker::console_log;

/// Never answers a certain operation, and says on the console that it was sent.
pub struct Hung {
    operation: String,
    prefix: String,
    /// How many such are answered before.
    left: AtomicU64,
    store: Arc<dyn Store>,
}

impl Hung {
    /// `put 10 user_`: the tenth put to a key that begins with `user_`.
    pub fn parse(header: &str, store: Arc<dyn Store>) -> Option<Self> {
        let mut words = header.splitn(3, ' ').map(str::to_owned);
        let (operation, number, prefix) = (words.next()?, words.next()?, words.next()?);
        let left = AtomicU64::new(number.parse().ok()?);
        Some(Self { operation, prefix, left, store })
    }

    fn is_it(&self, request: Request<'_>) -> bool {
        let operation = request.operation().to_string().replace(' ', "-");
        operation == self.operation
            && request.key().starts_with(&self.prefix)
            && self.left.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

impl Store for Hung {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        if self.is_it(request) {
            console_log!("hung at the {request:?}");
            return Box::pin(std::future::pending());
        }
        self.store.call(request)
    }
}
