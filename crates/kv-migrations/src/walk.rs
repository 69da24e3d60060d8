//! Walks over the entries of a prefix, from where an earlier request left off, as far as the budget goes.
//!
//! What is next is read while the entries before it are worked on, several at once; they are reported done in the order
//! of their keys, so that a position is all that a checkpoint needs.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::pin::pin;
use std::rc::Rc;

use futures_util::future::{Either, select};
use futures_util::stream::{self, FuturesOrdered, Stream, StreamExt};
use serde::{Deserialize, Serialize};

use crate::job::Job;
use crate::kv::limits::{MAX_BULK_KEYS, MAX_CONNECTIONS};
use crate::kv::{Key, KvError, ListOptions, Page, StoreExt};
use crate::migration::Result;

/// How many entries are worked on at once: more than there are connections, so that one which takes longer does not
/// keep the others waiting.
const AT_ONCE: usize = 2 * MAX_CONNECTIONS;

/// How far a walk has got.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The last key that is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    /// KV's cursor of the page that was gone through last. It only spares listing all before it: what is done is decided
    /// by the key. Not of the page behind it: that one may be empty, and then nobody could tell whether it was the last,
    /// or the cursor is not known any more.
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
    /// The budget is used up, and this request got no further with it.
    Stuck,
}

impl Walked {
    /// An operation was refused since the budget is used up.
    pub(crate) fn over_budget(job: &Job<'_>) -> Self {
        if job.has_got_further() { Self::Paused } else { Self::Stuck }
    }
}

/// One thing to do, in the order of the keys.
enum Step<T> {
    /// `cursor` is that of its page.
    Entry {
        key: Key,
        loaded: T,
        cursor: Option<Rc<str>>,
    },
    EndOfPage {
        cursor: Option<Rc<str>>,
    },
}

/// Loads the entries of `range` behind `position`, works on each, and calls `done` for each that is, in order, with
/// the position behind it, until it says to stop; and for each page, without a result.
pub(crate) async fn walk<T, R>(
    job: &Job<'_>,
    range: Range<'_>,
    position: Position,
    load: impl AsyncFn(Vec<Key>) -> Result<Vec<(Key, T)>>,
    work: impl AsyncFn(Key, T) -> Result<R>,
    done: impl AsyncFnMut(Option<R>, Position) -> Result<ControlFlow<()>>,
) -> Result<Walked> {
    let mut pace = Pace::new(job);
    let result = go(range, position, load, work, done, &mut pace).await;
    if job.is_overdrawn() && result.is_err() {
        return Ok(Walked::over_budget(job));
    }
    result
}

async fn go<T, R>(
    range: Range<'_>,
    position: Position,
    load: impl AsyncFn(Vec<Key>) -> Result<Vec<(Key, T)>>,
    work: impl AsyncFn(Key, T) -> Result<R>,
    mut done: impl AsyncFnMut(Option<R>, Position) -> Result<ControlFlow<()>>,
    pace: &mut Pace<'_>,
) -> Result<Walked> {
    let mut last = position.clone();
    let mut reading = pin!(read(Pages::new(pace.job, range, position), &load));
    let mut ahead = VecDeque::new();
    let mut working = FuturesOrdered::new();
    let mut is_read = false;
    loop {
        let mut is_spent = !pace.can_afford();
        while !is_spent && pace.is_free(working.len()) {
            let Some(step) = ahead.pop_front() else { break };
            pace.begin();
            working.push_back(finish(step, &work));
            is_spent = !pace.can_afford();
        }
        // One chunk ahead, so that nobody waits for it. What is being read must be polled to its end: it has one of
        // the connections.
        let is_short = if pace.finished == 0 { ahead.is_empty() } else { ahead.len() < MAX_BULK_KEYS };
        let reads = !is_read && !is_spent && is_short;
        let next = match (reads, working.is_empty()) {
            (false, true) if is_read && ahead.is_empty() => return Ok(Walked::All),
            (false, true) => return Ok(Walked::Paused),
            (true, true) => Either::Left(reading.next().await),
            (false, false) => Either::Right(working.next().await),
            (true, false) => match select(working.next(), reading.next()).await {
                Either::Left((finished, _)) => Either::Right(finished),
                Either::Right((steps, _)) => Either::Left(steps),
            },
        };
        match next {
            Either::Left(Some(steps)) => ahead.extend(steps?),
            Either::Left(None) => is_read = true,
            Either::Right(None) => {}
            Either::Right(Some(finished)) => {
                let (name, result, cursor) = finished?;
                pace.finished += 1;
                let position = Position { after: name.or_else(|| last.after.clone()), cursor };
                if position != last {
                    pace.job.note_step();
                }
                last = position.clone();
                if done(result, position).await?.is_break() {
                    return Ok(Walked::Stopped);
                }
            }
        }
    }
}

/// The steps of each chunk of keys. An error ends them.
fn read<'a, T>(
    pages: Pages<'a>,
    load: &'a impl AsyncFn(Vec<Key>) -> Result<Vec<(Key, T)>>,
) -> impl Stream<Item = Result<Vec<Step<T>>>> + 'a
where
    T: 'a,
{
    let start = (Some(pages), VecDeque::new());
    stream::unfold(start, async move |(mut pages, mut chunks)| {
        if chunks.is_empty() {
            match pages.as_mut()?.next().await {
                Ok(page) => chunks = split(page?),
                Err(error) => return Some((Err(error.into()), (None, chunks))),
            }
        }
        let Chunk { keys, cursor, is_end } = chunks.pop_front()?;
        let loaded = if keys.is_empty() { Ok(Vec::new()) } else { load(keys).await };
        let steps = loaded.map(|loaded| {
            let entry = |(key, loaded)| Step::Entry { key, loaded, cursor: cursor.clone() };
            let end = is_end.then(|| Step::EndOfPage { cursor: cursor.clone() });
            loaded.into_iter().map(entry).chain(end).collect()
        });
        Some((steps, (pages, chunks)))
    })
}

/// Keys to be read together.
struct Chunk {
    keys: Vec<Key>,
    /// The cursor of their page.
    cursor: Option<Rc<str>>,
    /// Whether it is the last of its page.
    is_end: bool,
}

fn split(page: WalkedPage) -> VecDeque<Chunk> {
    let cursor: Option<Rc<str>> = page.cursor.map(Rc::from);
    let mut keys = page.keys.into_iter();
    let mut chunks = VecDeque::new();
    loop {
        let keys: Vec<Key> = keys.by_ref().take(MAX_BULK_KEYS).collect();
        let is_full = keys.len() == MAX_BULK_KEYS;
        chunks.push_back(Chunk { keys, cursor: cursor.clone(), is_end: !is_full });
        if !is_full {
            return chunks;
        }
    }
}

/// What a step that is worked on gives: the key and the result of an entry, and where to go on.
type Finished<R> = (Option<String>, Option<R>, Option<String>);

async fn finish<T, R>(step: Step<T>, work: &impl AsyncFn(Key, T) -> Result<R>) -> Result<Finished<R>> {
    Ok(match step {
        Step::Entry { key, loaded, cursor } => {
            let name = key.name.clone();
            (Some(name), Some(work(key, loaded).await?), cursor.as_deref().map(str::to_owned))
        }
        Step::EndOfPage { cursor } => (None, None, cursor.as_deref().map(str::to_owned)),
    })
}

/// Says how much more can be begun, so that what is under way can be finished within the budget.
struct Pace<'a> {
    job: &'a Job<'a>,
    /// The operations of the request before the first step was begun.
    operations_before: u64,
    begun: u64,
    finished: u64,
}

impl<'a> Pace<'a> {
    fn new(job: &'a Job<'a>) -> Self {
        Self { job, operations_before: 0, begun: 0, finished: 0 }
    }

    fn begin(&mut self) {
        if self.begun == 0 {
            self.operations_before = self.job.operations();
        }
        self.begun += 1;
    }

    /// Whether another can be worked on beside those that are. The first of a request is made alone: then it is known
    /// what one takes, and each request gets further than the one before.
    fn is_free(&self, working: usize) -> bool {
        working < if self.finished == 0 { 1 } else { AT_ONCE }
    }

    /// Whether there is enough for what is under way, and for one more.
    fn can_afford(&self) -> bool {
        if self.begun == 0 {
            return true;
        }
        let spent = self.job.operations().saturating_sub(self.operations_before);
        let each = spent.div_ceil(self.finished.max(1)).max(1);
        self.job.can_afford(each * (self.begun - self.finished + 1))
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
}

impl WalkedPage {
    /// The position behind it.
    pub(crate) fn end(&self, before: &Position) -> Position {
        let last = self.keys.last().map(|key| key.name.clone());
        Position { after: last.or_else(|| before.after.clone()), cursor: self.cursor.clone() }
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
            self.position.is_behind(&key.name)
                && !is_beyond(key)
                && !self.job.is_marker(&key.name, self.range.prefix)
        });
        let cursor = std::mem::replace(&mut self.position.cursor, page.cursor);
        Ok(Some(WalkedPage { keys, cursor }))
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
