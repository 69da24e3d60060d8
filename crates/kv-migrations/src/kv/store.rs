//! The contract of a store: one method for five operations.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::{BulkValue, Entry, KvError, KvErrorKind, ListOptions, Operation, Page, PutOptions};
use crate::future::BoxFuture;
use crate::lock::RunLock;

/// One operation with its arguments.
///
/// A store answers a request that it does not know with [`refused`](Self::refused).
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request<'a> {
    /// Reads one entry. The answer is [`Answer::Entry`].
    Get {
        /// Its key.
        key: &'a str,
    },
    /// Reads up to 100 values. The answer is [`Answer::Values`].
    ///
    /// Metadata is left to lists: with metadata, `worker` 0.8.7 fails a bulk get in which a key is missing.
    GetBulk {
        /// Their keys.
        keys: &'a [&'a str],
    },
    /// Writes one entry and replaces what is there. The answer is [`Answer::Done`].
    Put {
        /// Its key.
        key: &'a str,
        /// Its value, of at most 25 MiB.
        value: &'a [u8],
        /// What is stored with it.
        options: &'a PutOptions,
    },
    /// Deletes one entry. A missing entry is not an error. The answer is [`Answer::Done`].
    Delete {
        /// Its key.
        key: &'a str,
    },
    /// Lists one page of keys. The answer is [`Answer::Page`].
    List(ListOptions<'a>),
}

impl<'a> Request<'a> {
    /// Which operation it is.
    pub fn operation(&self) -> Operation {
        match self {
            Self::Get { .. } => Operation::Get,
            Self::GetBulk { .. } => Operation::GetBulk,
            Self::Put { .. } => Operation::Put,
            Self::Delete { .. } => Operation::Delete,
            Self::List(_) => Operation::List,
        }
    }

    /// Its key; for a bulk get the first key, for a list the prefix.
    pub fn key(&self) -> &'a str {
        match *self {
            Self::Get { key } | Self::Put { key, .. } | Self::Delete { key } => key,
            Self::GetBulk { keys } => keys.first().copied().unwrap_or_default(),
            Self::List(options) => options.prefix,
        }
    }

    /// Returns the error of a store that cannot do it: the HTTP status, where there is one, and a message.
    pub fn refused(&self, status: Option<u16>, message: impl AsRef<str>) -> KvError {
        KvError::refused(self.operation(), self.key(), status, message.as_ref())
    }

    /// Returns the error of a store whose quota for such operations is used up for this time.
    pub fn quota_exhausted(&self, retry_after: Duration) -> KvError {
        KvError::new(self.operation(), self.key(), KvErrorKind::QuotaExhausted { retry_after })
    }
}

/// Without the value: it is the user's.
impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {:?}", self.operation(), self.key())
    }
}

/// The answer of a store. Each request has its own kind of answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// The entry, if there is one.
    Entry(Option<Entry>),
    /// A value for each key, in the order of the keys.
    Values(Vec<BulkValue>),
    /// The entry was written or deleted.
    Done,
    /// The page.
    Page(Page),
}

/// A key-value store that behaves like Workers KV.
///
/// One request is one operation, as Cloudflare counts them. A store does only what it is asked for: callers retry, page,
/// and read singly what a bulk get cannot read. The trait has one method, so that a store is easily wrapped in another
/// one that counts, retries or fails. `kv_migrations::testing::conformance` (feature `testing`) checks that a store keeps
/// the contract. [`StoreExt`] is what callers use.
///
/// # Example
/// A read-only store:
/// ```
/// use kv_migrations::BoxFuture;
/// use kv_migrations::kv::{Answer, KvError, MemoryStore, Request, Store, StoreExt};
///
/// struct ReadOnly<S>(S);
///
/// impl<S: Store> Store for ReadOnly<S> {
///     fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
///         match request {
///             Request::Put { .. } | Request::Delete { .. } => {
///                 Box::pin(async move { Err(request.refused(Some(405), "this store is read-only")) })
///             }
///             _ => self.0.call(request),
///         }
///     }
/// }
///
/// # async fn example() {
/// let store = ReadOnly(MemoryStore::new());
/// assert_eq!(store.get("key").await, Ok(None));
/// assert!(store.delete("key").await.is_err());
/// # }
/// # futures::executor::block_on(example());
/// ```
pub trait Store: Send + Sync {
    /// Performs one operation.
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>>;

    /// The lock that all runners of a service on stores of this kind share. By default none: each runner has a lock of
    /// its own, unless it is given one by [`Runner::with_lock`](crate::Runner::with_lock).
    ///
    /// The KV of a Worker answers [`RunLock::of_process`].
    fn shared_lock(&self, service: &str) -> Option<RunLock> {
        let _ = service;
        None
    }
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        (**self).call(request)
    }

    fn shared_lock(&self, service: &str) -> Option<RunLock> {
        (**self).shared_lock(service)
    }
}

/// The operations of a store by their names. Every [`Store`] has them.
pub trait StoreExt: Store {
    /// Reads one entry.
    fn get<'a>(&'a self, key: &'a str) -> impl Future<Output = Result<Option<Entry>, KvError>> {
        ask(self, Request::Get { key }, |_, answer| match answer {
            Answer::Entry(entry) => Some(entry),
            _ => None,
        })
    }

    /// Reads up to 100 values. The answer has one for each key, in the order of `keys`.
    fn get_bulk<'a>(&'a self, keys: &'a [&'a str]) -> impl Future<Output = Result<Vec<BulkValue>, KvError>> {
        ask(self, Request::GetBulk { keys }, |request, answer| match (request, answer) {
            (Request::GetBulk { keys }, Answer::Values(values)) if values.len() == keys.len() => Some(values),
            _ => None,
        })
    }

    /// Writes one entry and replaces what is there.
    fn put<'a>(
        &'a self,
        key: &'a str,
        value: &'a [u8],
        options: &'a PutOptions,
    ) -> impl Future<Output = Result<(), KvError>> {
        ask(self, Request::Put { key, value, options }, done)
    }

    /// Deletes one entry. A missing entry is not an error.
    fn delete<'a>(&'a self, key: &'a str) -> impl Future<Output = Result<(), KvError>> {
        ask(self, Request::Delete { key }, done)
    }

    /// Lists one page of keys.
    fn list<'a>(&'a self, options: ListOptions<'a>) -> impl Future<Output = Result<Page, KvError>> {
        ask(self, Request::List(options), |_, answer| match answer {
            Answer::Page(page) => Some(page),
            _ => None,
        })
    }
}

impl<S: Store + ?Sized> StoreExt for S {}

/// A put or a delete.
pub(crate) fn write<'a>(
    store: &'a dyn Store,
    request: Request<'a>,
) -> impl Future<Output = Result<(), KvError>> + use<'a> {
    ask(store, request, done)
}

#[allow(clippy::needless_pass_by_value, reason = "as `Expect` has it")]
fn done(_: Request<'_>, answer: Answer) -> Option<()> {
    matches!(answer, Answer::Done).then_some(())
}

/// The answer to a request. By hand, so that it is compiled once for each kind of answer: an `async fn` is compiled into each
/// of its callers.
struct Asked<'a, T> {
    answer: BoxFuture<'a, Result<Answer, KvError>>,
    request: Request<'a>,
    expect: Expect<T>,
}

/// What the answer holds, if it is one to this request.
type Expect<T> = fn(Request<'_>, Answer) -> Option<T>;

fn ask<'a, T>(store: &'a (impl Store + ?Sized), request: Request<'a>, expect: Expect<T>) -> Asked<'a, T> {
    Asked { answer: store.call(request), request, expect }
}

impl<T> Future for Asked<'_, T> {
    type Output = Result<T, KvError>;

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.answer.as_mut().poll(context))?;
        let expected = (self.expect)(self.request, answer);
        Poll::Ready(expected.ok_or_else(|| self.request.refused(None, "the store returned a wrong answer")))
    }
}
