//! A store in memory, for tests: as strict as KV where KV is strict.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{self, LocalBoxFuture};
use serde_json::Value;

use super::{
    BulkValue, Entry, Expiration, Key, KvError, ListOptions, Operation, Page, PutOptions, Store, limits,
};
use crate::clock::{Clock, SystemClock};

/// A KV namespace in memory. Clones share it.
///
/// It refuses what KV refuses (keys, values and metadata that are too long, expirations that are too near), expires
/// what has expired, and reads in bulk what KV can. What it has not is KV's delay: every read sees the last write.
///
/// # Example
/// ```
/// use kv_migrations::{Migration, Runner, kv::MemoryStore};
///
/// # async fn example() -> Result<(), kv_migrations::Error> {
/// let store = MemoryStore::new();
/// let migration = Migration::new("001_add_feature", "Add new feature to system", async |kv, _: &()| {
///     kv.put("feature_enabled", "true").await?;
///     Ok(())
/// });
///
/// Runner::new(store.clone(), "my-service", vec![migration])?.run_pending(&()).await?;
///
/// assert_eq!(store.value("feature_enabled").unwrap(), b"true");
/// # Ok(())
/// # }
/// # futures_util::FutureExt::now_or_never(example()).unwrap().unwrap();
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    entries: Arc<Mutex<BTreeMap<String, Stored>>>,
    operations: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
}

struct Stored {
    entry: Entry,
    expiration: Option<u64>,
}

impl MemoryStore {
    /// An empty namespace.
    pub fn new() -> Self {
        Self::with_clock(SystemClock)
    }

    /// An empty namespace whose entries expire by `clock`.
    pub fn with_clock(clock: impl Clock + 'static) -> Self {
        Self { entries: Arc::default(), operations: Arc::default(), clock: Arc::new(clock) }
    }

    /// The value of a key, for assertions.
    pub fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.live(key).map(|(entry, _)| entry.value)
    }

    /// Every entry: its key, its value and its metadata. Two namespaces that print alike are alike.
    pub fn entries(&self) -> Vec<(Key, Vec<u8>)> {
        let now = self.now();
        let entries = self.lock();
        let live = entries.iter().filter(|(_, stored)| stored.is_live(now));
        live.map(|(name, stored)| (stored.key(name), stored.entry.value.clone())).collect()
    }

    /// How many operations it has answered, refused ones included.
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    fn answer<'a, T: 'a>(
        &self,
        result: Result<T, String>,
        operation: Operation,
        key: &str,
    ) -> LocalBoxFuture<'a, Result<T, KvError>> {
        self.operations.fetch_add(1, Ordering::Relaxed);
        let result = result.map_err(|message| KvError::refused(operation, key, message));
        Box::pin(future::ready(result))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Stored>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.now().timestamp()).unwrap_or(0)
    }

    fn live(&self, key: &str) -> Option<(Entry, Option<u64>)> {
        let now = self.now();
        let entries = self.lock();
        let stored = entries.get(key).filter(|stored| stored.is_live(now))?;
        Some((stored.entry.clone(), stored.expiration))
    }

    fn write(&self, key: &str, value: &[u8], options: &PutOptions) -> Result<(), String> {
        check_key(key)?;
        check_value(value)?;
        check_metadata(options.metadata.as_ref())?;
        let expiration = expiration_time(options.expiration, self.now())?;
        let entry = Entry { value: value.to_vec(), metadata: options.metadata.clone() };
        self.lock().insert(key.to_owned(), Stored { entry, expiration });
        Ok(())
    }

    fn page(&self, options: ListOptions<'_>) -> Result<Page, String> {
        let limit = options.limit.unwrap_or(limits::MAX_PAGE_KEYS);
        if !(1..=limits::MAX_PAGE_KEYS).contains(&limit) {
            return Err(format!("400 Invalid key_count_limit of {limit}: it goes from 1 to 1000."));
        }
        let now = self.now();
        let entries = self.lock();
        // A cursor is the last key of the page before.
        let start = options.cursor.map_or(Bound::Included(options.prefix), Bound::Excluded);
        let mut keys: Vec<Key> = entries
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(name, _)| name.starts_with(options.prefix))
            .filter(|(_, stored)| stored.is_live(now))
            .map(|(name, stored)| stored.key(name))
            .take(limit as usize + 1)
            .collect();
        let more = keys.len() > limit as usize;
        keys.truncate(limit as usize);
        let cursor = keys.last().filter(|_| more).map(|last| last.name.clone());
        Ok(Page { keys, cursor })
    }
}

impl Stored {
    fn is_live(&self, now: u64) -> bool {
        self.expiration.is_none_or(|at| at > now)
    }

    fn key(&self, name: &str) -> Key {
        Key { name: name.to_owned(), expiration: self.expiration, metadata: self.entry.metadata.clone() }
    }
}

fn check_key(key: &str) -> Result<(), String> {
    match key {
        "" => Err("Key name cannot be empty.".to_owned()),
        "." | ".." => Err(format!("\"{key}\" is not allowed as a key name.")),
        _ if key.len() > limits::MAX_KEY_BYTES => Err(format!(
            "414 UTF-8 encoded length of {} exceeds key length limit of {}.",
            key.len(),
            limits::MAX_KEY_BYTES
        )),
        _ => Ok(()),
    }
}

fn check_value(value: &[u8]) -> Result<(), String> {
    let length = value.len();
    if length > limits::MAX_VALUE_BYTES {
        return Err(format!("413 Value length of {length} exceeds limit of {}.", limits::MAX_VALUE_BYTES));
    }
    Ok(())
}

fn check_metadata(metadata: Option<&Value>) -> Result<(), String> {
    let length = metadata.map_or(0, |metadata| metadata.to_string().len());
    if length > limits::MAX_METADATA_BYTES {
        return Err(format!(
            "413 Metadata length of {length} exceeds limit of {}.",
            limits::MAX_METADATA_BYTES
        ));
    }
    Ok(())
}

fn expiration_time(expiration: Option<Expiration>, now: u64) -> Result<Option<u64>, String> {
    let (at, given) = match expiration {
        None => return Ok(None),
        Some(Expiration::At(at)) => (at, at),
        Some(Expiration::After(seconds)) => (now.saturating_add(seconds), seconds),
    };
    let soonest = now.saturating_add(limits::MIN_TTL_SECONDS);
    if !(soonest..=limits::MAX_EXPIRATION_SECONDS).contains(&at) {
        return Err(format!(
            "400 Invalid expiration of {given}: it must lie at least 60 seconds ahead, and before 2038."
        ));
    }
    Ok(Some(at))
}

/// What Cloudflare's bulk get leaves out: its answer is an object in JavaScript, on which integers are no ordinary
/// keys, and `__proto__` is none.
pub(crate) fn is_left_out_by_bulk_get(key: &str) -> bool {
    let integer = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit());
    key == "__proto__" || integer && (key == "0" || !key.starts_with('0'))
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("keys", &self.lock().len()).finish_non_exhaustive()
    }
}

impl Store for MemoryStore {
    fn get<'a>(&'a self, key: &'a str) -> LocalBoxFuture<'a, Result<Option<Entry>, KvError>> {
        let result = check_key(key).map(|()| self.live(key).map(|(entry, _)| entry));
        self.answer(result, Operation::Get, key)
    }

    fn get_bulk<'a>(&'a self, keys: &'a [&'a str]) -> LocalBoxFuture<'a, Result<Vec<BulkValue>, KvError>> {
        let read = |key: &&str| match self.live(key) {
            _ if is_left_out_by_bulk_get(key) => BulkValue::Unread,
            None => BulkValue::Missing,
            Some((entry, _)) if std::str::from_utf8(&entry.value).is_err() => BulkValue::Unread,
            Some((entry, _)) => BulkValue::Found(entry.value),
        };
        let result = if keys.len() > limits::MAX_BULK_KEYS {
            Err(format!("400 You can request a maximum of {} keys", limits::MAX_BULK_KEYS))
        } else {
            keys.iter().try_for_each(|key| check_key(key)).map(|()| keys.iter().map(read).collect())
        };
        self.answer(result, Operation::GetBulk, keys.first().copied().unwrap_or_default())
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        value: &'a [u8],
        options: &'a PutOptions,
    ) -> LocalBoxFuture<'a, Result<(), KvError>> {
        self.answer(self.write(key, value, options), Operation::Put, key)
    }

    fn delete<'a>(&'a self, key: &'a str) -> LocalBoxFuture<'a, Result<(), KvError>> {
        let result = check_key(key).map(|()| drop(self.lock().remove(key)));
        self.answer(result, Operation::Delete, key)
    }

    fn list<'a>(&'a self, options: ListOptions<'a>) -> LocalBoxFuture<'a, Result<Page, KvError>> {
        self.answer(self.page(options), Operation::List, options.prefix)
    }
}
