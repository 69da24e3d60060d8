//! Walks over the entries of a prefix, from where an earlier request left off, as far as the budget goes.
//!
//! What is next is read while the entries before it are worked on, several at once; they are reported done in the order
//! of their keys, so that a position is all that a checkpoint needs.

mod pace;
mod pages;
mod position;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::pin::pin;
use std::rc::Rc;

use futures_util::future::{Either, select};
use futures_util::stream::{self, FuturesOrdered, Stream, StreamExt};

use crate::job::Job;
use crate::kv::Key;
use crate::kv::limits::MAX_BULK_KEYS;
use crate::migration::Result;
use pace::Pace;
pub(crate) use pages::go_through;
use pages::{Pages, WalkedPage};
pub(crate) use position::{Position, Range};

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
    // How many entries are left to be read, once that is known.
    let mut unread = None;
    let result: Result<Walked> = async {
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
                Either::Left(Some(loaded)) => {
                    let loaded = loaded?;
                    unread = loaded.unread;
                    ahead.extend(loaded.steps);
                }
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
                    pace.job.note_left(unread.map(|unread| unread + ahead.len() + working.len()));
                    if done(result, position).await?.is_break() {
                        return Ok(Walked::Stopped);
                    }
                }
            }
        }
    }
    .await;
    // What is on its way still must not arrive when another run has begun.
    while working.next().await.is_some() {}
    pace.job.note_left(None);
    result
}

/// A chunk of keys, read.
struct Loaded<T> {
    steps: Vec<Step<T>>,
    /// How many entries are left to be read, once that is known.
    unread: Option<usize>,
}

/// Each chunk of keys. An error ends them.
fn read<'a, T>(
    pages: Pages<'a>,
    load: &'a impl AsyncFn(Vec<Key>) -> Result<Vec<(Key, T)>>,
) -> impl Stream<Item = Result<Loaded<T>>> + 'a
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
        let Chunk { keys, cursor, is_end, unread } = chunks.pop_front()?;
        let loaded = if keys.is_empty() { Ok(Vec::new()) } else { load(keys).await };
        let steps = loaded.map(|loaded| {
            let entry = |(key, loaded)| Step::Entry { key, loaded, cursor: cursor.clone() };
            let end = is_end.then(|| Step::EndOfPage { cursor: cursor.clone() });
            Loaded { steps: loaded.into_iter().map(entry).chain(end).collect(), unread }
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
    /// How many keys there are behind it, if its page is the last.
    unread: Option<usize>,
}

fn split(page: WalkedPage) -> VecDeque<Chunk> {
    let cursor: Option<Rc<str>> = page.cursor.map(Rc::from);
    let mut rest = page.keys.into_iter();
    let mut chunks = VecDeque::new();
    loop {
        let keys: Vec<Key> = rest.by_ref().take(MAX_BULK_KEYS).collect();
        let is_full = keys.len() == MAX_BULK_KEYS;
        let unread = page.is_last.then_some(rest.len());
        chunks.push_back(Chunk { keys, cursor: cursor.clone(), is_end: !is_full, unread });
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
