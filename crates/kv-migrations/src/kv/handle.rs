//! The handle with which migrations read and write.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::policy::PolicyStore;
use super::{
    BulkValue, Entry, EntryOperations, Key, Keys, KvError, KvErrorKind, Operation, Policy, Put, Store,
    StoreExt, find, limits, parse_json,
};
use crate::clock::{SystemClock, seconds};

/// Reads and writes a KV namespace, without the raw binding's accidents: a put keeps metadata and expiration, serde reads
/// and writes JSON, a list continues to its last page, and bytes stay bytes.
///
/// A read can be stale for a minute or more, if the key was written elsewhere in the world or was read before it was
/// written.
///
/// # Example
/// ```
/// use kv_migrations::kv::{Kv, KvError, MemoryStore};
///
/// # async fn example() -> Result<(), KvError> {
/// let kv = Kv::new(MemoryStore::new());
/// kv.put_json("user_1", &["ada"]).with_metadata(&"v1").await?;
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
/// # futures::executor::block_on(example()).unwrap();
/// ```
#[derive(Clone)]
pub struct Kv {
    store: Arc<PolicyStore>,
}

impl Kv {
    /// Creates a handle on `store`: a Worker's `KvStore` (feature `worker`), or a
    /// [`MemoryStore`](super::MemoryStore).
    ///
    /// Its operations are retried after temporary failures, but belong to no run. In a migration, use
    /// [`with_store`](Self::with_store) for a second namespace.
    pub fn new(store: impl Store + 'static) -> Self {
        Self::with_policy(Arc::new(store), Policy::new(Arc::new(SystemClock), None))
    }

    /// Returns a handle on another store that belongs to the same run: its operations count against the run's
    /// budget, renew its lease, and stop when another run has replaced it.
    ///
    /// # Example
    /// ```
    /// # use kv_migrations::kv::{Kv, KvError, MemoryStore};
    /// # async fn example(kv: &Kv) -> Result<(), KvError> {
    /// let other = kv.with_store(MemoryStore::new()); // in a Worker: `kv.with_store(env.kv("OLD_KV")?)`
    /// if let Some(value) = other.bytes("flag").await? {
    ///     kv.put("flag", value).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_store(&self, store: impl Store + 'static) -> Self {
        self.in_namespace(Arc::new(store))
    }

    /// The same of a store that others use as well.
    pub(crate) fn in_namespace(&self, store: Arc<dyn Store>) -> Self {
        let policy = self.store.policy.clone().in_other_namespace();
        let store = match &policy.namespaces {
            Some(namespaces) => namespaces.in_front_of(store),
            None => store,
        };
        Self::with_policy(store, policy)
    }

    /// Returns whether this is a [dry run](crate::Runner::dry_run), so that nothing that is written here reaches
    /// KV. Leave out then what is not KV: nothing else holds back a `fetch`, a message to a queue, or a write to
    /// D1.
    ///
    /// # Example
    /// ```
    /// use kv_migrations::Migration;
    ///
    /// # async fn tell_the_search_engine() -> kv_migrations::Result { Ok(()) }
    /// let migration = Migration::new("010_search", "Search by name", async |kv, _: &()| {
    ///     kv.put("search", "on").await?;
    ///     if !kv.is_dry_run() {
    ///         tell_the_search_engine().await?;
    ///     }
    ///     Ok(())
    /// });
    /// # let _ = migration;
    /// ```
    pub fn is_dry_run(&self) -> bool {
        self.store.policy.namespaces.as_ref().is_some_and(|namespaces| namespaces.is_dry_run())
    }

    pub(crate) fn with_policy(store: Arc<dyn Store>, policy: Policy) -> Self {
        Self { store: Arc::new(PolicyStore { policy, store }) }
    }

    /// The same handle for the operations of one entry.
    pub(crate) fn for_entry(&self, operations: EntryOperations) -> Self {
        self.for_entry_in(operations, |store| store)
    }

    /// The same handle for the operations of an entry of another namespace.
    pub(crate) fn for_other_entry(&self, operations: EntryOperations) -> Self {
        let PolicyStore { policy, store } = &*self.store;
        Self::with_policy(store.clone(), policy.clone().with_entry(operations).in_other_namespace())
    }

    /// The same handle for the operations of one entry, with a store around the namespace.
    pub(crate) fn for_entry_in(
        &self,
        operations: EntryOperations,
        wrap: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>,
    ) -> Self {
        let PolicyStore { policy, store } = &*self.store;
        Self::with_policy(wrap(store.clone()), policy.clone().with_entry(operations))
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Counts bytes of values that a long migration has read.
    pub(crate) fn add_bytes(&self, bytes: usize) {
        self.store.policy.add_bytes(bytes);
    }

    /// Notes how many of the keys that a walk has read have a value, and the bytes of these.
    pub(crate) fn note_values(&self, found: usize, bytes: usize) {
        self.store.policy.note_values(found, bytes);
    }

    pub(crate) fn now_seconds(&self) -> u64 {
        seconds(self.now())
    }

    /// Returns the time, by the clock of the run. In Workers, `SystemTime::now` panics, and the time stands still
    /// between two operations.
    ///
    /// # Example
    /// ```
    /// # use kv_migrations::kv::{Kv, KvError, MemoryStore};
    /// # use std::time::{Duration, UNIX_EPOCH};
    /// # async fn example(kv: &Kv) -> Result<(), KvError> {
    /// let edited_at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    /// let is_old = kv.now().duration_since(edited_at).is_ok_and(|age| age > Duration::from_hours(90 * 24));
    /// # assert!(is_old);
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example(&Kv::new(MemoryStore::new()))).unwrap();
    /// ```
    pub fn now(&self) -> SystemTime {
        self.store.policy.clock.now()
    }

    /// Counts calls outside of KV against the [`Budget`](crate::Budget) of the run: of D1, of a Durable Object, of a queue,
    /// by `fetch`. To Cloudflare each is a subrequest, as an operation of KV is. Call it before you make them. Reports count
    /// them among the operations.
    ///
    /// It reads no plan's limit: a Worker on the free plan may make 50 calls to other services in a request.
    ///
    /// # Errors
    /// If the budget does not cover them. Return the error: the run then ends as it does when an operation of KV does not fit,
    /// and the next one repeats the entry, or the `up`.
    ///
    /// # Example
    /// ```
    /// # async fn fetch(_url: &str) -> kv_migrations::Result<String> { Ok("Title".to_owned()) }
    /// use kv_migrations::{Backfill, Migration, Runner, kv::MemoryStore};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let titles = Backfill::new("link_", async |kv, link, _: &()| {
    ///     kv.spend(1)?;
    ///     let title = fetch(link.text()?).await?;
    ///     kv.put(&format!("title_{}", link.name()), title).await?;
    ///     Ok(())
    /// });
    ///
    /// let store = MemoryStore::new();
    /// store.insert("link_1", "https://example.com");
    /// let migration = Migration::backfill("009_titles", "Titles of links", titles);
    /// Runner::new(store.clone(), "my-service", vec![migration])?.run_pending(&()).await?;
    /// assert_eq!(store.value("title_link_1").unwrap(), b"Title");
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example()).unwrap();
    /// ```
    pub fn spend(&self, calls: u64) -> Result<(), Box<dyn Error + Send + Sync>> {
        let policy = &self.store.policy;
        if (0..calls).all(|_| policy.admit().is_ok()) {
            return Ok(());
        }
        policy.cut_off();
        Err("a call outside of KV was not made: its run has used up the operations or the time of a request, or has ended".into())
    }

    /// Returns the value of a key with its metadata; `None` if there is no such key. One operation.
    pub fn get<'a>(&'a self, key: &'a str) -> impl Future<Output = Result<Option<Entry>, KvError>> {
        self.store.get(key)
    }

    /// Returns the value of a key, byte for byte. One operation.
    pub async fn bytes(&self, key: &str) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.get(key).await?.map(|entry| entry.value))
    }

    /// Returns the value of a key as text; an error if it is not UTF-8. One operation.
    pub async fn text(&self, key: &str) -> Result<Option<String>, KvError> {
        let text = self.bytes(key).await?.map(String::from_utf8).transpose();
        text.map_err(|_| KvError::new(Operation::Get, key, KvErrorKind::NotUtf8))
    }

    /// Returns the value of a key, read by [`serde_json`], which keeps integers up to 2⁶⁴ exact, and other numbers
    /// with the feature `float_roundtrip`, which is on by default; an error if it is not JSON of this shape. One
    /// operation.
    pub async fn json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, KvError> {
        let Some(value) = self.bytes(key).await? else { return Ok(None) };
        parse_json(&value)
            .map(Some)
            .map_err(|error| KvError::new(Operation::Get, key, KvErrorKind::NotJson(error)))
    }

    /// Returns many values, in the order of `keys`. One operation for every 100 keys, and one more for each key
    /// that a bulk get cannot read: see [`BulkValue`], also for what a bulk get loses. Values of more than 25 MiB
    /// together are read one by one.
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
                    Some(BulkValue::Unread) | None => self.get(key).await?.map(|entry| entry.value),
                });
            }
        }
        Ok(values)
    }

    /// Writes text or bytes. The entry keeps its metadata and expiration: see [`Put`].
    pub fn put<'a>(&'a self, key: &'a str, value: impl AsRef<[u8]>) -> Put<'a> {
        Put::new(&self.store, key, Some(value.as_ref().to_vec()))
    }

    /// Writes a value as JSON. The entry keeps its metadata and expiration: see [`Put`].
    pub fn put_json<'a>(&'a self, key: &'a str, value: &impl Serialize) -> Put<'a> {
        self.put_json_of(key, value, 0)
    }

    /// The same of a value that has about this number of bytes as JSON. A vector that grows by itself has up to twice as many, and
    /// three times as many while it does.
    pub(crate) fn put_json_of<'a>(&'a self, key: &'a str, value: &impl Serialize, bytes: usize) -> Put<'a> {
        let mut json = Vec::with_capacity(bytes + bytes / 16 + 128);
        let written = serde_json::to_writer(&mut json, value);
        Put::new(&self.store, key, written.is_ok().then_some(json))
    }

    /// A key with its metadata and expiration. One operation.
    pub(crate) async fn find(&self, key: &str) -> Result<Option<Key>, KvError> {
        find(&*self.store, key).await
    }

    /// Deletes a key. A missing key is not an error. One operation.
    pub fn delete<'a>(&'a self, key: &'a str) -> impl Future<Output = Result<(), KvError>> {
        self.store.delete(key)
    }

    /// Returns all keys that begin with `prefix`. One operation for every 1,000 keys.
    pub fn list<'a>(&'a self, prefix: &'a str) -> Keys<'a> {
        Keys::new(&*self.store, prefix)
    }
}

impl fmt::Debug for Kv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kv").finish_non_exhaustive()
    }
}
