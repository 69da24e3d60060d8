//! A store in memory, for tests: as strict as KV where KV is strict.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use super::checks::{Refusal, bulk_value, check_bulk, check_bulk_values, check_key, check_put};
use super::{Answer, BulkValue, Entry, Key, KvError, ListOptions, Page, PutOptions, Request, Store, limits};
use crate::clock::{Clock, SystemClock, seconds};
use crate::future::BoxFuture;

/// A KV namespace in memory. Clones share it.
///
/// It refuses what KV refuses (keys, values and metadata that are too long, expirations that are too near), lets entries
/// expire, and reads in bulk what KV can. Unlike KV, it is strongly consistent: every read sees the last write.
///
/// Each operation lets other work go on before it takes effect, as in a Worker. What several entries of a
/// [`Backfill`](crate::Backfill) do to one key at the same time is mixed up in a test as it is in KV. An executor has to
/// run it: `futures::executor::block_on`, for instance.
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
/// # futures::executor::block_on(example()).unwrap();
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    entries: Arc<Mutex<BTreeMap<String, Stored>>>,
    operations: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
struct Stored {
    entry: Entry,
    expiration: Option<u64>,
}

impl MemoryStore {
    /// Creates an empty namespace.
    pub fn new() -> Self {
        Self::with_clock(SystemClock)
    }

    /// Creates an empty namespace whose entries expire by `clock`.
    pub fn with_clock(clock: impl Clock + 'static) -> Self {
        Self { entries: Arc::default(), operations: Arc::default(), clock: Arc::new(clock) }
    }

    /// Stores a value without counting an operation, so that a test has something to migrate. It also takes what KV would
    /// refuse.
    ///
    /// # Example
    /// ```
    /// let store = kv_migrations::kv::MemoryStore::new();
    /// store.insert("customer_1", r#"{"email":"ada@example.com"}"#);
    /// assert!(store.value("customer_1").is_some());
    /// ```
    pub fn insert(&self, key: &str, value: impl AsRef<[u8]>) {
        let entry = Entry { value: value.as_ref().to_vec(), metadata: None };
        self.lock().insert(key.to_owned(), Stored { entry, expiration: None });
    }

    /// Returns the value of a key, for assertions.
    pub fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.live(key).map(|entry| entry.value)
    }

    /// Returns every entry: its key with metadata and expiration, and its value.
    pub fn entries(&self) -> Vec<(Key, Vec<u8>)> {
        let now = self.now();
        let entries = self.lock();
        let live = entries.iter().filter(|(_, stored)| stored.is_live(now));
        live.map(|(name, stored)| (stored.key(name), stored.entry.value.clone())).collect()
    }

    /// Returns the number of operations so far, refused ones included.
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Stored>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        seconds(self.clock.now())
    }

    fn live(&self, key: &str) -> Option<Entry> {
        let now = self.now();
        let entries = self.lock();
        let stored = entries.get(key).filter(|stored| stored.is_live(now))?;
        Some(stored.entry.clone())
    }

    fn read(&self, key: &str) -> Result<Option<Entry>, Refusal> {
        check_key(key)?;
        Ok(self.live(key))
    }

    fn read_bulk(&self, keys: &[&str]) -> Result<Vec<BulkValue>, Refusal> {
        check_bulk(keys)?;
        let read = |key: &&str| Ok(bulk_value(key, self.read(key)?.map(|entry| entry.value)));
        let values: Vec<BulkValue> = keys.iter().map(read).collect::<Result<_, Refusal>>()?;
        check_bulk_values(&values)?;
        Ok(values)
    }

    fn remove(&self, key: &str) -> Result<(), Refusal> {
        check_key(key)?;
        self.lock().remove(key);
        Ok(())
    }

    fn write(&self, key: &str, value: &[u8], options: &PutOptions) -> Result<(), Refusal> {
        let expiration = check_put(key, value, options, self.now())?;
        let entry = Entry { value: value.to_vec(), metadata: options.metadata.clone() };
        self.lock().insert(key.to_owned(), Stored { entry, expiration });
        Ok(())
    }

    fn page(&self, options: ListOptions<'_>) -> Result<Page, Refusal> {
        let limit = options.limit.unwrap_or(limits::MAX_PAGE_KEYS);
        if !(1..=limits::MAX_PAGE_KEYS).contains(&limit) {
            let message = format!("Invalid key_count_limit of {limit}: it must be from 1 to 1000.");
            return Err(Refusal::new(400, message));
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

/// For the test tools.
#[cfg(feature = "testing")]
impl MemoryStore {
    /// A copy of all entries, those that have expired as well, in a namespace with this clock.
    pub(crate) fn copy_with_clock(&self, clock: impl Clock + 'static) -> Self {
        let copy = Self::with_clock(clock);
        copy.lock().clone_from(&self.lock());
        copy
    }

    /// The clock by which entries expire.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Stores an entry as it was elsewhere, without counting an operation or refusing what KV would.
    pub(crate) fn restore(&self, key: Key, value: Vec<u8>) {
        let Key { name, expiration, metadata } = key;
        self.lock().insert(name, Stored { entry: Entry { value, metadata }, expiration });
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
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(async move {
            give_way().await;
            self.answer(request)
        })
    }
}

impl MemoryStore {
    /// Performs an operation at once.
    pub(crate) fn answer(&self, request: Request<'_>) -> Result<Answer, KvError> {
        self.operations.fetch_add(1, Ordering::Relaxed);
        let answer = match request {
            Request::Get { key } => self.read(key).map(Answer::Entry),
            Request::GetBulk { keys } => self.read_bulk(keys).map(Answer::Values),
            Request::Put { key, value, options } => self.write(key, value, options).map(|()| Answer::Done),
            Request::Delete { key } => self.remove(key).map(|()| Answer::Done),
            Request::List(options) => self.page(options).map(Answer::Page),
        };
        answer.map_err(|refusal| refusal.of(request))
    }
}

/// Lets all other work go on first.
async fn give_way() {
    let mut has_given_way = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_given_way, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
