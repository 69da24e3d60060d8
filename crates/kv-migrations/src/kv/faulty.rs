//! A store that fails on demand, to test what happens then.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::LocalBoxFuture;

use super::{Answer, KvError, Request, Store};

/// Which operations fail, counted from 0, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// This one is refused, and does nothing.
    Refused(u64),
    /// This one takes effect, but its answer is lost.
    AnswerLost(u64),
    /// From this one on all are refused: the process was killed.
    Crash(u64),
    /// This one and the next few are refused with a status: 429, as one that comes too soon is, or 503.
    Passing {
        /// The status.
        status: u16,
        /// The first of them.
        from: u64,
        /// How many.
        count: u64,
    },
}

/// `store` with one [`Fault`].
///
/// # Example
/// ```
/// use kv_migrations::kv::{Fault, Kv, MemoryStore, faulty};
///
/// # async fn example() {
/// let kv = Kv::new(faulty(MemoryStore::new(), Fault::Refused(0)));
/// assert!(kv.text("key").await.is_err());
/// assert!(kv.text("key").await.is_ok());
/// # }
/// # futures_util::FutureExt::now_or_never(example()).unwrap();
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
    fn call<'a>(&'a self, request: Request<'a>) -> LocalBoxFuture<'a, Result<Answer, KvError>> {
        let now = self.operations.fetch_add(1, Ordering::Relaxed);
        let refused = move |message: &str| Err(request.refused(message));
        Box::pin(async move {
            match self.fault {
                Fault::Refused(at) if now == at => refused("injected: refused"),
                Fault::Crash(at) if now >= at => refused("injected: crashed"),
                Fault::AnswerLost(at) if now == at => {
                    self.store.call(request).await?;
                    refused("injected: answer lost")
                }
                Fault::Passing { status, from, count } if (from..from + count).contains(&now) => {
                    refused(&format!("{status} injected"))
                }
                _ => self.store.call(request).await,
            }
        })
    }
}
