//! Stores that are not as they should be.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures::executor::block_on;
use kv_migrations::BoxFuture;
use kv_migrations::clock::Clock;
use kv_migrations::kv::{Answer, KvError, ListOptions, MemoryStore, Page, Request, Store, StoreExt};
use kv_migrations::testing::ManualClock;

/// Lists as they were when it was made, as KV elsewhere in the world still sees them.
pub struct StaleLists {
    store: MemoryStore,
    page: Page,
}

impl StaleLists {
    pub fn of(store: MemoryStore) -> Self {
        let page = block_on(store.list(ListOptions::default())).expect("memory lists");
        Self { store, page }
    }
}

impl Store for StaleLists {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        let Request::List(options) = request else { return self.store.call(request) };
        let mut page = self.page.clone();
        page.keys.retain(|key| key.name.starts_with(options.prefix));
        Box::pin(async move { Ok(Answer::Page(page)) })
    }
}

/// Answers every list with an empty page before each page, as KV may.
pub struct EmptyPages(pub MemoryStore);

const EMPTY: &str = "empty";

impl Store for EmptyPages {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        let Request::List(options) = request else { return self.0.call(request) };
        Box::pin(async move {
            let cursor = options.cursor.map(|cursor| cursor.split_at(EMPTY.len()));
            match cursor {
                Some((EMPTY, rest)) => {
                    let cursor = Some(rest).filter(|rest| !rest.is_empty());
                    let page = self.0.list(options.with_cursor(cursor)).await?;
                    let cursor = page.cursor.map(|cursor| format!("later{cursor}"));
                    Ok(Answer::Page(Page::new(page.keys).with_cursor(cursor)))
                }
                rest => {
                    let rest = rest.map_or("", |(_, rest)| rest);
                    Ok(Answer::Page(Page::new(Vec::new()).with_cursor(format!("{EMPTY}{rest}"))))
                }
            }
        })
    }
}

/// What a store can get wrong.
#[derive(Debug, Clone, Copy)]
pub enum Mistake {
    LosesMetadata,
    ListsEverything,
    ListsBackwards,
    TellsMissingFromEmptyNot,
}

/// A store that makes one mistake.
pub struct Mistaken(pub MemoryStore, pub Mistake);

impl Store for Mistaken {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(async move {
            let request = match (self.1, request) {
                (Mistake::ListsEverything, Request::List(options)) => {
                    Request::List(ListOptions::new("").with_cursor(options.cursor))
                }
                (_, request) => request,
            };
            let mut answer = self.0.call(request).await?;
            match (self.1, &mut answer) {
                (Mistake::LosesMetadata, Answer::Entry(Some(entry))) => entry.metadata = None,
                (Mistake::ListsBackwards, Answer::Page(page)) => page.keys.reverse(),
                (Mistake::TellsMissingFromEmptyNot, Answer::Entry(entry)) => {
                    entry.take_if(|entry| entry.value.is_empty());
                }
                _ => {}
            }
            Ok(answer)
        })
    }
}

/// Lists in pages of so many keys at most.
pub struct ShortPages(pub MemoryStore, pub u32);

impl Store for ShortPages {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        match request {
            Request::List(options) => {
                let limit = options.limit.unwrap_or(self.1).min(self.1);
                self.0.call(Request::List(options.with_limit(limit)))
            }
            _ => self.0.call(request),
        }
    }
}

/// Refuses one operation of eight with 429 or 503, at random but from a seed, and not more than three in a row.
pub struct Flaky<S> {
    store: S,
    state: AtomicU64,
    in_a_row: AtomicU64,
}

impl<S> Flaky<S> {
    pub fn new(store: S, seed: u64) -> Self {
        Self { store, state: AtomicU64::new(seed | 1), in_a_row: AtomicU64::new(0) }
    }

    /// xorshift64.
    fn next(&self) -> u64 {
        let mut state = self.state.load(Ordering::Relaxed);
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.state.store(state, Ordering::Relaxed);
        state
    }
}

impl<S: Store> Store for Flaky<S> {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        let (drawn, in_a_row) = (self.next() % 16, self.in_a_row.fetch_add(1, Ordering::Relaxed));
        if drawn > 1 || in_a_row >= 3 {
            self.in_a_row.store(0, Ordering::Relaxed);
            return self.store.call(request);
        }
        let (status, message) =
            if drawn == 0 { (429, "Too Many Requests") } else { (503, "Service Unavailable") };
        Box::pin(async move { Err(request.refused(Some(status), message)) })
    }
}

/// Refuses a second write to a key within a second, as KV does, and counts such.
pub struct OneWriteASecond<S> {
    store: S,
    clock: ManualClock,
    written: Mutex<HashMap<String, SystemTime>>,
    pub refused: Arc<AtomicU64>,
}

impl<S> OneWriteASecond<S> {
    pub fn new(store: S, clock: ManualClock) -> Self {
        Self { store, clock, written: Mutex::default(), refused: Arc::default() }
    }

    fn is_too_soon(&self, key: &str) -> bool {
        let now = self.clock.now();
        let before = self.written.lock().unwrap().insert(key.to_owned(), now);
        before.is_some_and(|before| now < before + Duration::from_secs(1))
    }
}

impl<S: Store> Store for OneWriteASecond<S> {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        let is_write = matches!(request, Request::Put { .. } | Request::Delete { .. });
        if is_write && self.is_too_soon(request.key()) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Box::pin(async move { Err(request.refused(Some(429), "Too Many Requests")) });
        }
        self.store.call(request)
    }
}

/// A namespace as it is seen here, where what is written elsewhere is seen a minute late. Clones are the same.
#[derive(Clone)]
pub struct Lagging {
    /// What is really there.
    pub truth: MemoryStore,
    seen: MemoryStore,
    /// What was written elsewhere, and is not seen yet.
    due: Arc<Mutex<VecDeque<Written>>>,
    /// When each key was written last, by whomever.
    last: Arc<Mutex<HashMap<String, u64>>>,
    writes: Arc<AtomicU64>,
    clock: ManualClock,
}

struct Written {
    at: SystemTime,
    number: u64,
    key: String,
    value: Vec<u8>,
}

impl Lagging {
    pub fn over(truth: MemoryStore, clock: ManualClock) -> Self {
        let seen = MemoryStore::with_clock(clock.clone());
        for (key, value) in truth.entries() {
            seen.insert(&key.name, value);
        }
        let (due, last, writes) = (Arc::default(), Arc::default(), Arc::default());
        Self { truth, seen, due, last, writes, clock }
    }

    /// A write elsewhere.
    pub fn write_elsewhere(&self, key: &str, value: &str) {
        self.truth.insert(key, value);
        let (key, value) = (key.to_owned(), value.as_bytes().to_vec());
        let number = self.number(&key);
        self.due.lock().unwrap().push_back(Written { at: self.clock.now(), number, key, value });
    }

    fn number(&self, key: &str) -> u64 {
        let number = self.writes.fetch_add(1, Ordering::Relaxed);
        self.last.lock().unwrap().insert(key.to_owned(), number);
        number
    }

    /// Lets be seen what is old enough, unless something newer was written to the key: the last write wins.
    fn catch_up(&self) {
        let seen_now = self.clock.now() - Duration::from_mins(1);
        let mut due = self.due.lock().unwrap();
        while due.front().is_some_and(|written| written.at <= seen_now) {
            let Written { number, key, value, .. } = due.pop_front().expect("there is one");
            if self.last.lock().unwrap().get(&key) == Some(&number) {
                self.seen.insert(&key, value);
            }
        }
    }
}

impl Store for Lagging {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        self.catch_up();
        Box::pin(async move {
            if let Request::Put { key, .. } | Request::Delete { key } = request {
                self.number(key);
                self.truth.call(request).await?;
            }
            self.seen.call(request).await
        })
    }
}

/// Lists what was written only a minute later; markers at once, so that runs get on. Reads see it at once.
pub struct LateLists {
    store: MemoryStore,
    clock: ManualClock,
    written: Mutex<HashMap<String, SystemTime>>,
}

impl LateLists {
    pub fn over(store: MemoryStore, clock: ManualClock) -> Self {
        Self { store, clock, written: Mutex::default() }
    }

    fn is_listed(&self, key: &str) -> bool {
        let written = self.written.lock().unwrap().get(key).copied();
        let is_old = written.is_none_or(|at| self.clock.now() >= at + Duration::from_mins(1));
        is_old || key.starts_with("migration_")
    }
}

impl Store for LateLists {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        if let Request::Put { key, .. } = request {
            self.written.lock().unwrap().insert(key.to_owned(), self.clock.now());
        }
        Box::pin(async move {
            let mut answer = self.store.call(request).await?;
            if let Answer::Page(page) = &mut answer {
                page.keys.retain(|key| self.is_listed(&key.name));
            }
            Ok(answer)
        })
    }
}

/// Refuses all puts of some keys, or the first tries of each.
pub struct Refusing<S, F> {
    pub store: S,
    pub refuses: F,
}

impl<S: Store, F: Fn(Request<'_>) -> bool + Send + Sync> Store for Refusing<S, F> {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        if (self.refuses)(request) {
            return Box::pin(async move { Err(request.refused(Some(503), "Service Unavailable")) });
        }
        self.store.call(request)
    }
}

/// Lists so many keys a page, and behind the last page an empty one, as KV may.
pub struct EmptyLastPage(pub MemoryStore, pub u32);

impl Store for EmptyLastPage {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        let Request::List(options) = request else { return self.0.call(request) };
        let limit = options.limit.unwrap_or(self.1).min(self.1);
        Box::pin(async move {
            let mut page = self.0.list(options.with_limit(limit)).await?;
            if let (None, None, Some(last)) = (&page.cursor, options.limit, page.keys.last()) {
                page.cursor = Some(last.name.clone());
            }
            Ok(Answer::Page(page))
        })
    }
}
