//! Walks over the entries of a prefix, from where an earlier request left off, as far as the budget goes.
//!
//! What is next is read while the entries before it are worked on, several at once; they are reported done in the order
//! of their keys, so that a position is all that a checkpoint needs.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::rc::Rc;

use futures_util::stream::{self, Stream, StreamExt};
use serde::{Deserialize, Serialize};

use crate::job::Job;
use crate::kv::limits::{MAX_BULK_KEYS, MAX_CONNECTIONS};
use crate::kv::{Connection, Connections, Key, KvError, ListOptions, Page, StoreExt};
use crate::migration::{BoxError, Result};

/// How many entries are worked on at once: more than there are connections, so that one which takes longer does not
/// keep the others waiting.
const AT_ONCE: usize = 2 * MAX_CONNECTIONS;
/// How many reads in bulk are under way at once.
const READS_AT_ONCE: usize = 2;

/// How far a walk has got.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The last key that is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    /// KV's cursor of a page that begins no later than behind that key. It only spares listing all before it: what is
    /// done is decided by the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

impl Position {
    /// The last key that is done.
    pub(crate) fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    fn is_behind(&self, key: &str) -> bool {
        self.after().is_none_or(|after| after < key)
    }
}

/// Which keys are walked over: those that begin with the prefix, to the last one, or to this one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) until: Option<&'a str>,
}

impl<'a> Range<'a> {
    pub(crate) fn all(prefix: &'a str) -> Self {
        Self { prefix, until: None }
    }
}

/// How a walk ended.
#[derive(Debug)]
pub(crate) enum Walked {
    /// There are no more keys.
    All,
    /// It was told to stop.
    Stopped,
    /// The budget is used up.
    Paused,
    /// The budget is used up, and not a single entry could be done with it.
    Stuck,
}

/// Keys to be read and worked on together.
struct Chunk {
    keys: Vec<Key>,
    /// The cursor of their page.
    cursor: Option<Rc<str>>,
    end: End,
}

/// What comes behind a chunk.
enum End {
    /// More of the same page.
    OfChunk,
    /// The next page, which begins at this cursor; nothing, if there is none.
    OfPage(Option<String>),
}

/// One thing to do, in the order of the keys.
enum Step<T> {
    Entry { key: Key, loaded: T, cursor: Option<Rc<str>> },
    EndOfPage { cursor: Option<String> },
}

/// Loads the entries of `range` behind `position`, works on each, and calls `done` for each that is, in order, with
/// the position behind it, until it says to stop; and for each page, without a result.
pub(crate) async fn walk<T, R>(
    job: &Job<'_>,
    range: Range<'_>,
    position: Position,
    load: impl AsyncFn(Vec<Key>) -> Result<Vec<(Key, T)>>,
    work: impl AsyncFn(Key, T) -> Result<R>,
    mut done: impl AsyncFnMut(Option<R>, Position) -> Result<ControlFlow<()>>,
) -> Result<Walked> {
    let alone = Connections::new(1);
    let pace = Pace::new(job, &alone);
    let mut last = position.after.clone();
    let chunks = chunks(Pages::new(job, range, position));
    let steps =
        chunks.map(async |chunk| steps(chunk?, &load).await).buffered(READS_AT_ONCE).flat_map(|steps| {
            match steps {
                Ok(steps) => stream::iter(steps).map(Ok).left_stream(),
                Err(error) => stream::iter([Err(error)]).right_stream(),
            }
        });
    let is_all = Cell::new(true);
    let affordable = steps.take_while(|_| async {
        is_all.set(pace.can_begin().await);
        is_all.get()
    });
    let working = affordable.map(async |step| {
        Ok::<_, BoxError>(match step? {
            Step::Entry { key, loaded, cursor } => {
                let name = key.name.clone();
                (Some((name, work(key, loaded).await?)), cursor.as_deref().map(str::to_owned))
            }
            Step::EndOfPage { cursor } => (None, cursor),
        })
    });
    let result: Result<ControlFlow<()>> = async {
        let mut working = std::pin::pin!(working.buffered(AT_ONCE));
        while let Some(finished) = working.next().await {
            let (entry, cursor) = finished?;
            pace.finish_one();
            let (name, result) = entry.unzip();
            last = name.or(last.take());
            if done(result, Position { after: last.clone(), cursor }).await?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
    .await;
    match result {
        Ok(ControlFlow::Break(())) => Ok(Walked::Stopped),
        Ok(ControlFlow::Continue(())) if is_all.get() => Ok(Walked::All),
        Ok(ControlFlow::Continue(())) => Ok(Walked::Paused),
        Err(_) if job.is_overdrawn() && pace.has_moved() => Ok(Walked::Paused),
        Err(_) if job.is_overdrawn() => Ok(Walked::Stuck),
        Err(error) => Err(error),
    }
}

async fn steps<T>(
    chunk: Chunk,
    load: &impl AsyncFn(Vec<Key>) -> Result<Vec<(Key, T)>>,
) -> Result<Vec<Step<T>>> {
    let Chunk { keys, cursor, end } = chunk;
    let loaded = if keys.is_empty() { Vec::new() } else { load(keys).await? };
    let entries = loaded.into_iter().map(|(key, loaded)| Step::Entry { key, loaded, cursor: cursor.clone() });
    let end = match end {
        End::OfChunk => None,
        End::OfPage(cursor) => Some(Step::EndOfPage { cursor }),
    };
    Ok(entries.chain(end).collect())
}

/// Says how much more can be begun, so that what is under way can be finished within the budget.
///
/// The first step of a request is made alone: then it is known what one takes, and each request gets further than the
/// one before.
struct Pace<'a> {
    job: &'a Job<'a>,
    operations_before: u64,
    begun: Cell<u64>,
    finished: Cell<u64>,
    alone: &'a Connections,
    first: Cell<Option<Connection<'a>>>,
}

impl<'a> Pace<'a> {
    fn new(job: &'a Job<'a>, alone: &'a Connections) -> Self {
        let (begun, finished, first) = (Cell::new(0), Cell::new(0), Cell::new(None));
        Self { job, operations_before: job.operations(), begun, finished, alone, first }
    }

    async fn can_begin(&self) -> bool {
        let turn = self.alone.take().await;
        let (begun, finished) = (self.begun.get(), self.finished.get());
        if begun == 0 {
            self.first.set(Some(turn));
        } else {
            let spent = self.job.operations() - self.operations_before;
            if !self.job.can_afford(spent.div_ceil(finished.max(1)) * (begun - finished + 1)) {
                return false;
            }
        }
        self.begun.set(begun + 1);
        true
    }

    fn finish_one(&self) {
        self.first.take();
        self.finished.set(self.finished.get() + 1);
    }

    fn has_moved(&self) -> bool {
        self.finished.get() > 0
    }
}

/// The keys of a range, page after page.
pub(crate) struct Pages<'a> {
    job: &'a Job<'a>,
    range: Range<'a>,
    position: Position,
    /// Whether the cursor is that of a checkpoint.
    is_resumed: bool,
    is_at_end: bool,
}

/// A page, without what is done already.
pub(crate) struct WalkedPage {
    pub(crate) keys: Vec<Key>,
    cursor: Option<String>,
    next: Option<String>,
}

impl WalkedPage {
    /// Where the next page begins.
    pub(crate) fn end(&self, before: &Position) -> Position {
        let last = self.keys.last().map(|key| key.name.clone());
        Position { after: last.or_else(|| before.after.clone()), cursor: self.next.clone() }
    }
}

impl<'a> Pages<'a> {
    pub(crate) fn new(job: &'a Job<'a>, range: Range<'a>, position: Position) -> Self {
        Self { job, range, position, is_resumed: true, is_at_end: false }
    }

    /// The next page, which can be empty; none after the last one.
    pub(crate) async fn next(&mut self) -> Result<Option<WalkedPage>, KvError> {
        if self.is_at_end {
            return Ok(None);
        }
        let page = self.list().await?;
        let until = self.range.until;
        let is_beyond = |key: &Key| until.is_some_and(|until| key.name.as_str() > until);
        self.is_at_end = page.cursor.is_none() || page.keys.last().is_some_and(is_beyond);
        let mut keys = page.keys;
        keys.retain(|key| {
            self.position.is_behind(&key.name) && !is_beyond(key) && !self.job.is_marker(&key.name)
        });
        let cursor = std::mem::replace(&mut self.position.cursor, page.cursor.clone());
        Ok(Some(WalkedPage { keys, cursor, next: page.cursor }))
    }

    /// KV does not say how long a cursor is good for. With one from a checkpoint that it does not know any more, it may
    /// answer that there is nothing more, and then all keys are gone through from the first.
    async fn list(&mut self) -> Result<Page, KvError> {
        let page = self.list_from_cursor().await;
        let is_lost = match &page {
            Ok(page) => page.keys.is_empty() && page.cursor.is_none(),
            Err(error) => error.status().is_none_or(|status| (400..429).contains(&status)),
        };
        if is_lost && self.is_resumed && self.position.cursor.is_some() && !self.job.is_overdrawn() {
            self.position.cursor = None;
            self.is_resumed = false;
            return self.list_from_cursor().await;
        }
        self.is_resumed = false;
        page
    }

    async fn list_from_cursor(&self) -> Result<Page, KvError> {
        let cursor = self.position.cursor.as_deref();
        self.job.kv().store().list(ListOptions { prefix: self.range.prefix, cursor, limit: None }).await
    }
}

/// The keys of the pages, in parts that can be read in bulk. An error ends them.
fn chunks(pages: Pages<'_>) -> impl Stream<Item = Result<Chunk>> {
    let pages = stream::unfold(Some(pages), async |pages| {
        let mut pages = pages?;
        match pages.next().await {
            Ok(page) => Some((Ok(page?), Some(pages))),
            Err(error) => Some((Err(BoxError::from(error)), None)),
        }
    });
    pages.flat_map(|page| {
        let chunks = match page {
            Ok(page) => split(page).into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        stream::iter(chunks)
    })
}

fn split(page: WalkedPage) -> Vec<Chunk> {
    let cursor: Option<Rc<str>> = page.cursor.map(Rc::from);
    let mut keys = page.keys.into_iter();
    let mut chunks = Vec::new();
    loop {
        let keys: Vec<Key> = keys.by_ref().take(MAX_BULK_KEYS).collect();
        if keys.is_empty() {
            break;
        }
        chunks.push(Chunk { keys, cursor: cursor.clone(), end: End::OfChunk });
    }
    chunks.push(Chunk { keys: Vec::new(), cursor, end: End::OfPage(page.next) });
    chunks
}
