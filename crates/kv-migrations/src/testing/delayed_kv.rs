//! An eventually consistent KV namespace: what is really there, and what each location sees of it.

mod history;

use std::collections::BTreeMap;
use std::fmt;
use std::future::ready;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::clock::{Clock, at_milliseconds, between, later, milliseconds};
use crate::future::BoxFuture;
use crate::kv::limits::MAX_PAGE_KEYS;
use crate::kv::{
    Answer, BulkValue, Entry, Key, KvError, ListOptions, MemoryStore, Page, PutOptions, Request, Store,
};
pub use history::LOCATIONS;
use history::{History, Seen, Stored, Version};

/// How long a cursor can be used.
const CURSOR_LIFE: Duration = Duration::from_mins(10);

/// A KV namespace that is as late as Cloudflare's: a write is seen at once where it was made, and a while later
/// elsewhere, where reads are cached, including reads of missing keys.
///
/// Requests go to one of three locations, each a [`Store`] of its own. How late they are is up to the [`Visibility`].
/// As at Cloudflare, a second write to a key within a second is refused with 429. Clones are the same namespace.
///
/// # Example
/// ```
/// use kv_migrations::kv::{MemoryStore, PutOptions, StoreExt};
/// use kv_migrations::testing::{DelayedKv, ManualClock};
/// use std::time::Duration;
///
/// # async fn example() -> Result<(), kv_migrations::kv::KvError> {
/// let clock = ManualClock::default();
/// let kv = DelayedKv::new(MemoryStore::new(), clock.clone(), Duration::from_secs(60));
/// let (here, elsewhere) = (kv.at(0), kv.at(1));
/// here.put("key", b"value", &PutOptions::new()).await?;
/// assert!(here.get("key").await?.is_some());
/// assert!(elsewhere.get("key").await?.is_none());
/// clock.advance(Duration::from_secs(60));
/// assert!(elsewhere.get("key").await?.is_some());
/// # Ok(())
/// # }
/// # futures::executor::block_on(example()).unwrap();
/// ```
#[derive(Clone)]
pub struct DelayedKv(Arc<Namespace>);

struct Namespace {
    /// What is really there. What KV refuses at any time, it refuses.
    truth: MemoryStore,
    clock: Box<dyn Clock>,
    visibility: Box<dyn Visibility>,
    histories: Mutex<BTreeMap<String, History>>,
}

impl Namespace {
    /// What KV would answer without delays: an error if it refuses the request at any time.
    fn ask_truth(&self, request: Request<'_>) -> Result<Answer, KvError> {
        self.truth.answer(request)
    }
}

/// Where a write was made, seen from one location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// At this location.
    Here,
    /// At another one.
    Elsewhere,
}

/// After how long a location sees a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delay {
    /// In a get.
    pub read: Duration,
    /// In a list.
    pub list: Duration,
}

/// What a [`DelayedKv`] does where KV promises nothing.
///
/// A [`Duration`] is the plain case: elsewhere, every write is seen after this long, and a missing key is remembered for
/// as long.
pub trait Visibility: Send + Sync {
    /// After how long a location sees a write to `key`: asked once for each write and location.
    fn delay(&self, key: &str, origin: Origin) -> Delay;

    /// For how long a location that reads a missing key remembers that it is missing: asked at each read.
    fn missing(&self) -> Duration {
        Duration::ZERO
    }

    /// How many keys a page holds at most, where `limit` may be on it: KV may return fewer, or none.
    fn page_keys(&self, limit: usize) -> usize {
        limit
    }
}

impl Visibility for Duration {
    fn delay(&self, _: &str, origin: Origin) -> Delay {
        let delay = if origin == Origin::Here { Self::ZERO } else { *self };
        Delay { read: delay, list: delay }
    }

    fn missing(&self) -> Duration {
        *self
    }
}

impl DelayedKv {
    /// Creates a namespace with the entries of `truth`, which all locations see already.
    pub fn new(
        truth: MemoryStore,
        clock: impl Clock + 'static,
        visibility: impl Visibility + 'static,
    ) -> Self {
        let histories = truth.entries().into_iter().map(|(key, value)| {
            let entry = Entry::new(value).with_metadata(key.metadata);
            (key.name, History::starting_with(Stored { entry, expiration: key.expiration }))
        });
        let histories = Mutex::new(histories.collect());
        Self(Arc::new(Namespace {
            truth,
            clock: Box::new(clock),
            visibility: Box::new(visibility),
            histories,
        }))
    }

    /// Returns what is really there. Changes that are made to it directly are seen nowhere.
    pub fn truth(&self) -> &MemoryStore {
        &self.0.truth
    }

    /// Returns the namespace at a location, from 0 to 2.
    ///
    /// # Panics
    /// When it is used, if there is no such location.
    pub fn at(&self, location: usize) -> impl Store + Clone + use<> {
        Location { kv: self.clone(), location }
    }

    /// Answers a request at a location, from 0 to 2. A write reached KV at `time`, which may have passed.
    ///
    /// # Panics
    /// If there is no such location.
    pub fn answer(&self, location: usize, request: Request<'_>, time: SystemTime) -> Result<Answer, KvError> {
        let mut histories = self.0.histories.lock().unwrap_or_else(PoisonError::into_inner);
        let view = View { namespace: &self.0, location, now: self.0.clock.now(), histories: &mut histories };
        view.answer(request, time)
    }
}

impl fmt::Debug for DelayedKv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DelayedKv").field(&self.0.truth).finish()
    }
}

#[derive(Clone)]
struct Location {
    kv: DelayedKv,
    location: usize,
}

impl Store for Location {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(ready(self.kv.answer(self.location, request, self.kv.0.clock.now())))
    }
}

/// The namespace as one location sees it now.
struct View<'a> {
    namespace: &'a Namespace,
    location: usize,
    now: SystemTime,
    histories: &'a mut BTreeMap<String, History>,
}

impl View<'_> {
    fn answer(mut self, request: Request<'_>, time: SystemTime) -> Result<Answer, KvError> {
        match request {
            Request::Get { key } => {
                self.namespace.ask_truth(request)?;
                Ok(Answer::Entry(self.get(key)))
            }
            Request::GetBulk { keys } => {
                let mut answer = self.namespace.ask_truth(request)?;
                if let Answer::Values(values) = &mut answer {
                    for (key, value) in keys.iter().zip(values) {
                        *value = match (self.get(key), &*value) {
                            (None, _) => BulkValue::Missing,
                            // No bulk get can read this key, or this value.
                            (Some(_), BulkValue::Unread) => BulkValue::Unread,
                            (Some(entry), _) => bulk_value(entry.value),
                        };
                    }
                }
                Ok(answer)
            }
            Request::List(options) => {
                // Its cursors are others.
                self.namespace.ask_truth(Request::List(options.with_cursor(None)))?;
                Ok(Answer::Page(self.page(options)))
            }
            Request::Put { key, value, options } => self.write(request, key, Some((value, options)), time),
            Request::Delete { key } => self.write(request, key, None, time),
        }
    }

    fn get(&mut self, key: &str) -> Option<Entry> {
        let remembered = self.namespace.visibility.missing();
        let history = self.histories.entry(key.to_owned()).or_default();
        history.read(self.location, self.now, remembered).map(|stored| stored.entry.clone())
    }

    /// A cursor is the time at which the page before was listed, and its last key.
    fn page(&self, options: ListOptions<'_>) -> Page {
        let cursor = options.cursor.and_then(|cursor| cursor.split_once(' '));
        let listed_at = cursor.and_then(|(at, _)| at.parse().ok()).map_or(self.now, at_milliseconds);
        if between(listed_at, self.now) > CURSOR_LIFE {
            return Page::new(Vec::new());
        }
        let limit = self.namespace.visibility.page_keys(options.limit.unwrap_or(MAX_PAGE_KEYS) as usize);
        let after = cursor.map(|(_, after)| after).filter(|after| !after.is_empty());
        let start = after.map_or(Bound::Included(options.prefix), Bound::Excluded);
        let histories = self.histories.range::<str, _>((start, Bound::Unbounded));
        let mut keys: Vec<Key> = histories
            .take_while(|(name, _)| name.starts_with(options.prefix))
            .filter_map(|(name, history)| history.listed(name, self.location, self.now))
            .take(limit.saturating_add(1))
            .collect();
        let is_last = keys.len() <= limit;
        keys.truncate(limit);
        let last = keys.last().map_or(after.unwrap_or_default(), |key| key.name.as_str());
        let cursor = (!is_last).then(|| format!("{} {last}", milliseconds(self.now)));
        Page::new(keys).with_cursor(cursor)
    }

    fn write(
        self,
        request: Request<'_>,
        key: &str,
        put: Option<(&[u8], &PutOptions)>,
        time: SystemTime,
    ) -> Result<Answer, KvError> {
        let Self { namespace, location: here, histories, .. } = self;
        let history = histories.entry(key.to_owned()).or_default();
        if !history.takes_write(time) {
            return Err(request.refused(Some(429), "Too Many Requests"));
        }
        let answer = namespace.ask_truth(request)?;
        let stored = put.map(|(value, options)| Stored::new(value, options, time));
        let seen = std::array::from_fn(|location| {
            let origin = if location == here { Origin::Here } else { Origin::Elsewhere };
            let delay = namespace.visibility.delay(key, origin);
            Seen { read: later(time, delay.read), listed: later(time, delay.list) }
        });
        history.add(here, Version { stored, seen }, time);
        Ok(answer)
    }
}

fn bulk_value(value: Vec<u8>) -> BulkValue {
    String::from_utf8(value).map_or(BulkValue::Unread, BulkValue::from_text)
}
