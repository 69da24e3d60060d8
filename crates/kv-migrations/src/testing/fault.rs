//! A store that fails on demand.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::future::BoxFuture;
use crate::kv::{Answer, KvError, Request, Store};

/// Which operations fail, counted from 0, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// This operation is refused and has no effect.
    Refused(u64),
    /// This operation takes effect, but its answer is lost.
    AnswerLost(u64),
    /// All operations from this one on are refused, as if the process had been killed.
    Crash(u64),
    /// A number of operations are refused with an HTTP status: 429 or 503.
    #[non_exhaustive]
    Temporary {
        /// The HTTP status.
        status: u16,
        /// The first operation.
        from: u64,
        /// How many operations.
        count: u64,
    },
}

impl Fault {
    /// `count` operations, beginning with `from`, are refused with this HTTP status.
    pub fn temporary(status: u16, from: u64, count: u64) -> Self {
        Self::Temporary { status, from, count }
    }
}

/// `store` with one [`Fault`].
///
/// # Example
/// ```
/// use kv_migrations::kv::{Kv, MemoryStore};
/// use kv_migrations::testing::{Fault, faulty};
///
/// # async fn example() {
/// let kv = Kv::new(faulty(MemoryStore::new(), Fault::Refused(0)));
/// assert!(kv.text("key").await.is_err());
/// assert!(kv.text("key").await.is_ok());
/// # }
/// # futures::executor::block_on(example());
/// ```
pub fn faulty<S: Store>(store: S, fault: Fault) -> impl Store {
    Faulty { fault, operations: AtomicU64::new(0), store }
}

struct Faulty<S> {
    fault: Fault,
    operations: AtomicU64,
    store: S,
}

impl<S: Store> Store for Faulty<S> {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        let now = self.operations.fetch_add(1, Ordering::Relaxed);
        let refused = move |message: &str| Err(request.refused(None, message));
        Box::pin(async move {
            match self.fault {
                Fault::Refused(at) if now == at => refused("injected: refused"),
                Fault::Crash(at) if now >= at => refused("injected: crashed"),
                Fault::AnswerLost(at) if now == at => {
                    self.store.call(request).await?;
                    refused("injected: answer lost")
                }
                Fault::Temporary { status, from, count } if now >= from && now - from < count => {
                    Err(request.refused(Some(status), "injected"))
                }
                _ => self.store.call(request).await,
            }
        })
    }
}
