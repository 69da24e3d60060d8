//! The contract that a store fulfils: one method, for five operations.

use std::fmt;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use super::{BulkValue, Entry, KvError, ListOptions, Operation, Page, PutOptions};

/// One operation, with all that it needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    /// Reads one entry. The answer is [`Answer::Entry`].
    Get {
        /// Its key.
        key: &'a str,
    },
    /// Reads up to 100 values. The answer is [`Answer::Values`].
    ///
    /// Their metadata is for a list to tell: with it, `worker` 0.8.7 fails a bulk get in which a key is missing.
    GetBulk {
        /// Their keys.
        keys: &'a [&'a str],
    },
    /// Writes one entry, in place of the one that is there. The answer is [`Answer::Done`].
    Put {
        /// Its key.
        key: &'a str,
        /// Its value, of at most 25 MiB.
        value: &'a [u8],
        /// What is stored with it.
        options: &'a PutOptions,
    },
    /// Deletes one entry; that there is none is no error. The answer is [`Answer::Done`].
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

    /// The key that it is for; the first one of a bulk get, the prefix of a list.
    pub fn key(&self) -> &'a str {
        match *self {
            Self::Get { key } | Self::Put { key, .. } | Self::Delete { key } => key,
            Self::GetBulk { keys } => keys.first().copied().unwrap_or_default(),
            Self::List(options) => options.prefix,
        }
    }

    /// The error of a store that could not do it, in the store's own words. A status is read off their front:
    /// `429 Too Many Requests`, or `KV PUT failed: 429 Too Many Requests`.
    pub fn refused(&self, message: impl AsRef<str>) -> KvError {
        KvError::refused(self.operation(), self.key(), message.as_ref())
    }
}

/// Without the value: it is the user's.
impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {:?}", self.operation(), self.key())
    }
}

/// What a store answers: each request has its own kind of answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The entry, if there is one.
    Entry(Option<Entry>),
    /// A value for each key, in the order of the keys.
    Values(Vec<BulkValue>),
    /// It is done.
    Done,
    /// The page.
    Page(Page),
}

/// A key-value store that behaves like Workers KV.
///
/// One request is one operation, as Cloudflare counts them. A store does no more than it is asked for: retrying,
/// paging, and reading singly what a bulk get cannot read are its callers'. Having one method, it is easily put
/// around another store, to count, to retry, or to fail. [`conformance`](crate::kv::conformance) (feature `testing`)
/// checks that a store keeps the contract; [`StoreExt`] is what callers use.
///
/// # Example
/// A store that lets nothing be written:
/// ```
/// use futures_util::future::LocalBoxFuture;
/// use kv_migrations::kv::{Answer, KvError, MemoryStore, Request, Store, StoreExt};
///
/// struct ReadOnly<S>(S);
///
/// impl<S: Store> Store for ReadOnly<S> {
///     fn call<'a>(&'a self, request: Request<'a>) -> LocalBoxFuture<'a, Result<Answer, KvError>> {
///         match request {
///             Request::Put { .. } | Request::Delete { .. } => {
///                 Box::pin(async move { Err(request.refused("405 this store is read-only")) })
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
/// # futures_util::FutureExt::now_or_never(example()).unwrap();
/// ```
pub trait Store: Send + Sync {
    /// Makes one operation.
    fn call<'a>(&'a self, request: Request<'a>) -> LocalBoxFuture<'a, Result<Answer, KvError>>;
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn call<'a>(&'a self, request: Request<'a>) -> LocalBoxFuture<'a, Result<Answer, KvError>> {
        (**self).call(request)
    }
}

/// The operations of a store by their names. Every [`Store`] has them.
#[allow(async_fn_in_trait, reason = "in a Worker no future needs to be `Send`")]
pub trait StoreExt: Store {
    /// Reads one entry.
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        let request = Request::Get { key };
        match self.call(request).await? {
            Answer::Entry(entry) => Ok(entry),
            _ => Err(mismatch(request)),
        }
    }

    /// Reads up to 100 values, and answers for each key at its place in `keys`.
    async fn get_bulk(&self, keys: &[&str]) -> Result<Vec<BulkValue>, KvError> {
        let request = Request::GetBulk { keys };
        match self.call(request).await? {
            Answer::Values(values) if values.len() == keys.len() => Ok(values),
            _ => Err(mismatch(request)),
        }
    }

    /// Writes one entry, in place of the one that is there.
    async fn put(&self, key: &str, value: &[u8], options: &PutOptions) -> Result<(), KvError> {
        let request = Request::Put { key, value, options };
        match self.call(request).await? {
            Answer::Done => Ok(()),
            _ => Err(mismatch(request)),
        }
    }

    /// Deletes one entry. That there is none is no error.
    async fn delete(&self, key: &str) -> Result<(), KvError> {
        let request = Request::Delete { key };
        match self.call(request).await? {
            Answer::Done => Ok(()),
            _ => Err(mismatch(request)),
        }
    }

    /// Lists one page of keys.
    async fn list(&self, options: ListOptions<'_>) -> Result<Page, KvError> {
        let request = Request::List(options);
        match self.call(request).await? {
            Answer::Page(page) => Ok(page),
            _ => Err(mismatch(request)),
        }
    }
}

impl<S: Store + ?Sized> StoreExt for S {}

fn mismatch(request: Request<'_>) -> KvError {
    request.refused("the store answered something else")
}
