//! The handle that migrations read and write with.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{
    BulkValue, Entry, Key, Keys, KvError, KvErrorKind, ListOptions, NotSerializable, OnTerms, Operation,
    Page, Put, Store, StoreExt, Terms, limits,
};
use crate::clock::{SystemClock, seconds};

/// Reads and writes a KV namespace, and guards against what the raw binding does by accident: a put keeps metadata
/// and expiration, JSON is serde's, a list goes on to its last page, and bytes stay bytes.
///
/// A read can be stale for a minute or more, if the key was written elsewhere in the world or was read before it
/// was written.
///
/// # Example
/// ```
/// use kv_migrations::kv::{Kv, KvError, MemoryStore};
///
/// # async fn example() -> Result<(), KvError> {
/// let kv = Kv::new(MemoryStore::new());
/// kv.put_json("user_1", &["ada"]).metadata(&"v1").await?;
///
/// assert_eq!(kv.json::<Vec<String>>("user_1").await?.unwrap(), ["ada"]);
/// assert_eq!(kv.text("user_2").await?, None);
///
/// let mut users = kv.list("user_");
/// while let Some(user) = users.next().await? {
///     assert_eq!(user.metadata.unwrap().as_json(), r#""v1""#);
/// }
/// # Ok(())
/// # }
/// # futures_util::FutureExt::now_or_never(example()).unwrap().unwrap();
/// ```
#[derive(Clone)]
pub struct Kv {
    store: Arc<OnTerms>,
}

impl Kv {
    /// A handle on `store`: a Worker's `KvStore` (feature `worker`), or a [`MemoryStore`](super::MemoryStore).
    ///
    /// Its operations are tried again where they can be, but are no part of a run. In a migration, take
    /// [`on`](Self::on) for a second namespace.
    pub fn new(store: impl Store + 'static) -> Self {
        Self::on_terms(Arc::new(store), Terms::new(Arc::new(SystemClock)))
    }

    /// A handle on another store, on the terms of this one: in a migration, its operations are counted with those of
    /// the run, show that it is alive, and stop when another has taken its place.
    ///
    /// # Example
    /// ```
    /// # use kv_migrations::kv::{Kv, KvError, MemoryStore};
    /// # async fn example(kv: &Kv) -> Result<(), KvError> {
    /// let other = kv.on(MemoryStore::new()); // in a Worker: `kv.on(env.kv("OLD_KV")?)`
    /// if let Some(value) = other.bytes("flag").await? {
    ///     kv.put("flag", value).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn on(&self, store: impl Store + 'static) -> Self {
        Self::on_terms(Arc::new(store), self.store.terms.clone())
    }

    pub(crate) fn on_terms(store: Arc<dyn Store>, terms: Terms) -> Self {
        Self { store: Arc::new(OnTerms { terms, store }) }
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub(crate) fn now_seconds(&self) -> u64 {
        seconds(self.store.terms.clock.now())
    }

    /// The value of a key with its metadata; none if there is no such key. One operation.
    pub fn get(&self, key: &str) -> impl Future<Output = Result<Option<Entry>, KvError>> {
        self.store.get(key)
    }

    /// The value of a key, byte for byte. One operation.
    pub async fn bytes(&self, key: &str) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.get(key).await?.map(|entry| entry.value))
    }

    /// The value of a key as text; an error if it is not UTF-8. One operation.
    pub async fn text(&self, key: &str) -> Result<Option<String>, KvError> {
        let text = self.bytes(key).await?.map(String::from_utf8).transpose();
        text.map_err(|_| KvError::new(Operation::Get, key, KvErrorKind::NotUtf8))
    }

    /// The value of a key, read by [`serde_json`], so that integers up to 2⁶⁴ stay what they are; an error if it is
    /// not JSON of this shape. One operation.
    pub async fn json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, KvError> {
        let Some(value) = self.bytes(key).await? else { return Ok(None) };
        // serde_json's own message can quote the value.
        serde_json::from_slice(&value).map(Some).map_err(|error| {
            let kind = KvErrorKind::NotJson { line: error.line(), column: error.column() };
            KvError::new(Operation::Get, key, kind)
        })
    }

    /// Many values, each at the place of its key in `keys`. One operation for every 100 keys, and one more for each
    /// that a bulk get cannot read: see [`BulkValue`], also for the one thing that it loses. Values of more than
    /// 25 MiB together are read one by one.
    pub async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Vec<u8>>>, KvError> {
        let mut values = Vec::with_capacity(keys.len());
        for keys in keys.chunks(limits::MAX_BULK_KEYS) {
            let bulk = match self.store.get_bulk(keys).await {
                // One by one.
                Err(error) if error.is_too_large() => Vec::new(),
                bulk => bulk?,
            };
            let mut bulk = bulk.into_iter();
            for key in keys {
                values.push(match bulk.next() {
                    Some(BulkValue::Found(value)) => Some(value),
                    Some(BulkValue::Missing) => None,
                    Some(BulkValue::Unread) | None => self.bytes(key).await?,
                });
            }
        }
        Ok(values)
    }

    /// Writes text or bytes. The entry keeps its metadata and expiration: see [`Put`].
    pub fn put<'a>(&'a self, key: &'a str, value: impl AsRef<[u8]>) -> Put<'a> {
        Put::new(self, key, Ok(value.as_ref().to_vec()))
    }

    /// Writes a value as JSON. The entry keeps its metadata and expiration: see [`Put`].
    pub fn put_json<'a>(&'a self, key: &'a str, value: &impl Serialize) -> Put<'a> {
        Put::new(self, key, serde_json::to_vec(value).map_err(|_| NotSerializable))
    }

    /// A key with its metadata and expiration, which only a list tells: it is the first among all that begin with it.
    pub(crate) async fn find(&self, key: &str) -> Result<Option<Key>, KvError> {
        let mut cursor = None;
        loop {
            let options = ListOptions { prefix: key, cursor: cursor.as_deref(), limit: Some(1) };
            let Page { mut keys, cursor: next } = self.store.list(options).await?;
            // A page can be empty although there are more.
            if !keys.is_empty() || next.is_none() {
                return Ok(keys.pop().filter(|found| found.name == key));
            }
            cursor = next;
        }
    }

    /// Deletes a key. That there is none is no error. One operation.
    pub fn delete(&self, key: &str) -> impl Future<Output = Result<(), KvError>> {
        self.store.delete(key)
    }

    /// All keys that begin with `prefix`: one operation for every 1,000.
    pub fn list<'a>(&'a self, prefix: &'a str) -> Keys<'a> {
        Keys::new(&*self.store, prefix)
    }
}

impl fmt::Debug for Kv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kv").finish_non_exhaustive()
    }
}
