//! The contract that a store fulfils: one method, for five operations.

use std::fmt;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use super::{KvError, Metadata, Operation};

/// The limits of KV that every store enforces.
///
/// Source: <https://developers.cloudflare.com/kv/platform/limits/>.
pub mod limits {
    pub use crate::id::MAX_KEY_BYTES;

    /// The most bytes that the metadata of a value can have, written as JSON.
    pub const MAX_METADATA_BYTES: usize = 1024;

    /// The most bytes that a value can have: 25 MiB.
    pub const MAX_VALUE_BYTES: usize = 25 * 1024 * 1024;

    /// How far ahead an expiration must lie at least, in seconds.
    pub const MIN_TTL_SECONDS: u64 = 60;

    /// The latest time at which an entry can expire, in seconds since 1970: in January 2038. The Workers runtime
    /// refuses any later one.
    pub const MAX_EXPIRATION_SECONDS: u64 = i32::MAX as u64;

    /// The most keys that one bulk get reads.
    pub const MAX_BULK_KEYS: usize = 100;

    /// The most bytes that the values of one bulk get can have together: 25 MiB.
    pub const MAX_BULK_BYTES: usize = 25 * 1024 * 1024;

    /// The most keys on one page of a list.
    pub const MAX_PAGE_KEYS: u32 = 1000;
}

/// A value and the metadata that was stored with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value, byte for byte.
    pub value: Vec<u8>,
    /// The metadata, if there is any.
    pub metadata: Option<Metadata>,
}

/// What a bulk get says of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BulkValue {
    /// The value, as a single get would have read it, but for a byte order mark at its front: that is lost, since
    /// Cloudflare reads values in bulk as text.
    Found(Vec<u8>),
    /// There is no such key.
    Missing,
    /// A bulk get cannot tell, or not exactly: only a single get can. Cloudflare leaves out keys like `1` and
    /// `__proto__`, and reads values as text only.
    Unread,
}

impl BulkValue {
    /// A value that was read as text: exact, unless it holds what bytes that are not UTF-8 are replaced by.
    pub fn from_text(text: String) -> Self {
        let replaced = text.chars().any(|character| character == char::REPLACEMENT_CHARACTER);
        if replaced { Self::Unread } else { Self::Found(text.into_bytes()) }
    }
}

/// A key as a list returns it: without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub name: String,
    /// When it expires, in seconds since 1970, if it does.
    pub expiration: Option<u64>,
    /// The metadata of its value, if there is any.
    pub metadata: Option<Metadata>,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The keys, in the order of their UTF-8 bytes. It can be empty although there are more.
    pub keys: Vec<Key>,
    /// Where the next page begins; none after the last one.
    pub cursor: Option<String>,
}

impl Page {
    /// A page as the runtime returns it.
    ///
    /// # Errors
    /// If it is not the last one, but has no cursor to go on from: to take it for the last would lose keys.
    pub fn of(keys: Vec<Key>, list_complete: bool, cursor: Option<String>) -> Result<Self, &'static str> {
        if !list_complete && cursor.is_none() {
            return Err("the page is not the last one, but came without a cursor");
        }
        Ok(Self { keys, cursor: cursor.filter(|_| !list_complete) })
    }
}

/// Which keys to list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListOptions<'a> {
    /// What the keys begin with; empty for all of them.
    pub prefix: &'a str,
    /// The cursor of the page before; none for the first page.
    pub cursor: Option<&'a str>,
    /// The most keys wanted on the page, from 1 to 1,000; none for 1,000.
    pub limit: Option<u32>,
}

/// When a value expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiration {
    /// At this time, in seconds since 1970, at least 60 seconds ahead and before 2038.
    At(u64),
    /// So many seconds after it was written, at least 60.
    After(u64),
}

/// What is stored with a value. What is left out, the key has not: a put replaces all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// At most 1,024 bytes.
    pub metadata: Option<Metadata>,
    /// When the key expires.
    pub expiration: Option<Expiration>,
}

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
