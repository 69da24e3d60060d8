//! Stores that fail, or that do what KV may do and a `MemoryStore` never does.

use std::collections::HashSet;
use std::future::ready;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kv_migrations::BoxFuture;
use kv_migrations::clock::Clock;
use kv_migrations::kv::{Answer, KvError, ListOptions, MemoryStore, Page, Request, Store, StoreExt};
use kv_migrations::testing::VirtualTime;

/// A store whose every operation takes a while.
pub struct Slow<S> {
    pub store: S,
    time: VirtualTime,
    latency: Duration,
    /// How many milliseconds longer some operations take.
    unevenness: u64,
    calls: AtomicU64,
}

impl<S> Slow<S> {
    pub fn new(store: S, time: &VirtualTime, latency: Duration) -> Self {
        Self { store, time: time.clone(), latency, unevenness: 0, calls: AtomicU64::new(0) }
    }

    /// Some operations take up to this many milliseconds longer than others, so that they do not end in step with each
    /// other.
    pub fn uneven(self, milliseconds: u64) -> Self {
        Self { unevenness: milliseconds, ..self }
    }
}

impl<S: Store> Store for Slow<S> {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(async move {
            let call = self.calls.fetch_add(1, Ordering::Relaxed);
            let more = Duration::from_millis(call * 7 % (self.unevenness + 1));
            self.time.sleep(self.latency + more).await;
            self.store.call(request).await
        })
    }
}

/// Refuses more operations at once than a Worker has connections, checkpoints and markers among them.
pub struct SixAtOnce<S> {
    store: S,
    open: AtomicUsize,
}

impl<S> SixAtOnce<S> {
    pub fn new(store: S) -> Self {
        Self { store, open: AtomicUsize::new(0) }
    }
}

impl<S: Store> Store for SixAtOnce<S> {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(async move {
            let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
            assert!(open <= 6, "{open} operations at once");
            let answer = self.store.call(request).await;
            self.open.fetch_sub(1, Ordering::Relaxed);
            answer
        })
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

/// Answers every list with an empty page, and says that there is more. Clones share the count.
#[derive(Clone)]
pub struct NeverComplete {
    pub store: MemoryStore,
    pub lists: Arc<AtomicU64>,
}

impl Store for NeverComplete {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        let Request::List(_) = request else { return self.store.call(request) };
        self.lists.fetch_add(1, Ordering::Relaxed);
        Box::pin(ready(Ok(Answer::Page(Page::new(Vec::new()).with_cursor("more".to_owned())))))
    }
}

/// What a store can get wrong.
#[derive(Debug, Clone, Copy)]
pub enum Mistake {
    LosesMetadata,
    ListsEverything,
    ListsBackwards,
    TakesEmptyForMissing,
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
                (Mistake::TakesEmptyForMissing, Answer::Entry(entry)) => {
                    entry.take_if(|entry| entry.value.is_empty());
                }
                _ => {}
            }
            Ok(answer)
        })
    }
}

/// Lists this many keys a page at most.
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

/// Refuses one operation in eight with 429 or 503, drawn from a seed, and at most three in a row.
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

/// Refuses the requests for which `refuses` returns `true`, with 503.
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

/// Lists this many keys a page, and an empty page after the last one, as KV may.
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

/// Knows no cursor of an earlier request, and answers that there are no more keys, as KV may. Made for each request.
pub struct Forgetful<S> {
    store: S,
    known: Mutex<HashSet<String>>,
}

impl<S> Forgetful<S> {
    pub fn new(store: S) -> Self {
        Self { store, known: Mutex::default() }
    }
}

impl<S: Store> Store for Forgetful<S> {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(async move {
            let known = || self.known.lock().expect("no test panics while it holds it");
            if let Request::List(options) = request
                && options.cursor.is_some_and(|cursor| !known().contains(cursor))
            {
                return Ok(Answer::Page(Page::new(Vec::new())));
            }
            let answer = self.store.call(request).await?;
            if let Answer::Page(page) = &answer {
                known().extend(page.cursor.clone());
            }
            Ok(answer)
        })
    }
}

/// Answers some requests in place of the store.
pub struct Intercepting<S, F> {
    pub store: S,
    pub answer: F,
}

impl<S, F> Store for Intercepting<S, F>
where
    S: Store,
    F: Fn(Request<'_>) -> Option<Result<Answer, KvError>> + Send + Sync,
{
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        match (self.answer)(request) {
            Some(answer) => Box::pin(ready(answer)),
            None => self.store.call(request),
        }
    }
}
