//! The contract that a store fulfils: five operations, each of which counts as one with Cloudflare.

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use serde_json::Value;

use super::KvError;

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

    /// The most keys on one page of a list.
    pub const MAX_PAGE_KEYS: u32 = 1000;
}

/// A value and the metadata that was stored with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value, byte for byte.
    pub value: Vec<u8>,
    /// The metadata, if there is any.
    pub metadata: Option<Value>,
}

/// What a bulk get says of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BulkValue {
    /// The value, exactly as a single get would have read it.
    Found(Vec<u8>),
    /// There is no such key.
    Missing,
    /// A bulk get cannot tell, or not exactly: only a single get can. Cloudflare leaves out keys like `1` and
    /// `__proto__`, and reads values as text only.
    Unread,
}

/// A key as a list returns it: without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub name: String,
    /// When it expires, in seconds since 1970, if it does.
    pub expiration: Option<u64>,
    /// The metadata of its value, if there is any.
    pub metadata: Option<Value>,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The keys, in the order of their UTF-8 bytes. It can be empty although there are more.
    pub keys: Vec<Key>,
    /// Where the next page begins; none after the last one.
    pub cursor: Option<String>,
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
    /// JSON of at most 1,024 bytes.
    pub metadata: Option<Value>,
    /// When the key expires.
    pub expiration: Option<Expiration>,
}

/// A key-value store that behaves like Workers KV.
///
/// Each method is one operation, and none does more than its caller asks for: retrying, paging and reading singly
/// what a bulk get cannot read are the callers'. [`conformance`](crate::kv::conformance) (feature `testing`) checks
/// that a store keeps this contract.
pub trait Store: Send + Sync {
    /// Reads one entry.
    fn get<'a>(&'a self, key: &'a str) -> LocalBoxFuture<'a, Result<Option<Entry>, KvError>>;

    /// Reads up to 100 values, and answers for each key at its place in `keys`. Metadata is for a list to tell: with
    /// it, `worker` 0.8.7 fails a bulk get in which one key is missing.
    fn get_bulk<'a>(&'a self, keys: &'a [&'a str]) -> LocalBoxFuture<'a, Result<Vec<BulkValue>, KvError>>;

    /// Writes one entry, in place of the one that is there.
    fn put<'a>(
        &'a self,
        key: &'a str,
        value: &'a [u8],
        options: &'a PutOptions,
    ) -> LocalBoxFuture<'a, Result<(), KvError>>;

    /// Deletes one entry. That there is none is no error.
    fn delete<'a>(&'a self, key: &'a str) -> LocalBoxFuture<'a, Result<(), KvError>>;

    /// Lists one page of keys.
    fn list<'a>(&'a self, options: ListOptions<'a>) -> LocalBoxFuture<'a, Result<Page, KvError>>;
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn get<'a>(&'a self, key: &'a str) -> LocalBoxFuture<'a, Result<Option<Entry>, KvError>> {
        (**self).get(key)
    }

    fn get_bulk<'a>(&'a self, keys: &'a [&'a str]) -> LocalBoxFuture<'a, Result<Vec<BulkValue>, KvError>> {
        (**self).get_bulk(keys)
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        value: &'a [u8],
        options: &'a PutOptions,
    ) -> LocalBoxFuture<'a, Result<(), KvError>> {
        (**self).put(key, value, options)
    }

    fn delete<'a>(&'a self, key: &'a str) -> LocalBoxFuture<'a, Result<(), KvError>> {
        (**self).delete(key)
    }

    fn list<'a>(&'a self, options: ListOptions<'a>) -> LocalBoxFuture<'a, Result<Page, KvError>> {
        (**self).list(options)
    }
}
