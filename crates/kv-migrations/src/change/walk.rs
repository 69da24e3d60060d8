//! Walks over the entries of a prefix, from where an earlier request stopped, as far as the budget allows.
//!
//! A walk reads ahead, works on several entries at once, and returns them in the order of their keys, so that a position is
//! all that a checkpoint needs:
//!
//! ```text
//! list a page → load a chunk of its values → work on entries → visit them in order
//! ```

mod batches;
mod keys;
mod pace;
mod pages;
mod position;
mod queue;
mod read_ahead;
mod scope;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::SystemTime;

use futures_util::future::{Either, select};
use futures_util::stream::{FuturesOrdered, StreamExt};

use super::Job;
use crate::error::Result;
use crate::future::BoxFuture;
use crate::kv::{EntryOperations, Key, KvError};
use crate::sabotage::{self, Defect};
use crate::session::Session;
pub(super) use batches::BatchWalk;
pub(super) use keys::KeyWalk;
use pace::Pace;
use pages::KeyPage;
pub(super) use pages::Pages;
use position::{PageStart, Relisting};
pub(super) use position::{Position, Range, WalkEnd, over_budget};
use queue::{Chunk, Queue, Step};
pub(super) use scope::Scope;

/// A walk. `T` is what is loaded for an entry, `W` the work on it.
pub(super) struct Walk<'a, T, W: Future> {
    session: &'a Session<'a>,
    /// Lists and loads what is next. `None` after an error.
    source: Option<Source<'a, T>>,
    queue: Queue<T>,
    /// The work on entries, and where each step leads, in the same order.
    working: FuturesOrdered<W>,
    /// The results of the first ones of these that are not returned yet.
    results: VecDeque<W::Output>,
    started: VecDeque<Started>,
    pace: Pace<'a>,
    position: Position,
    has_moved: bool,
    relisting: Relisting,
    /// Whether no more entries are to begin.
    is_stopped: bool,
    end: WalkEnd,
}

/// Reads what is needed of the entries of some keys.
pub(super) type Loading<'a, T> = BoxFuture<'a, Result<Vec<(Key, T)>>>;

/// What the walk reads from.
enum Source<'a, T> {
    Idle(Pages<'a>),
    /// A read on its way. It holds a connection, so that it has to be polled to its end.
    Reading(BoxFuture<'a, Read<'a, T>>),
    /// A read that ended while the walk did something else.
    Done(Read<'a, T>),
}

/// What was read, and where to read on.
enum Read<'a, T> {
    Page { pages: Pages<'a>, page: Result<Option<KeyPage>, KvError> },
    Values { pages: Pages<'a>, entries: Result<Vec<(Key, T)>>, chunk: Chunk, at: SystemTime },
}

/// What a walk waits for.
enum Arrival<'a, T, R> {
    Read(Read<'a, T>),
    Work(Result<R>),
}

/// A step that was started.
enum Started {
    Entry { name: String, page: PageStart },
    EndOfPage { page: PageStart },
}

/// A step that is done.
pub(super) enum Visited<R> {
    Entry(R),
    EndOfPage,
}

impl<'a, T: 'a, R, W: Future<Output = Result<R>>> Walk<'a, T, W> {
    pub(super) fn new(session: &'a Session<'a>, range: Range<'a>, position: &Position) -> Self {
        session.meter.value_size().forget();
        Self {
            session,
            source: Some(Source::Idle(Pages::new(session, range, position))),
            queue: Queue::new(),
            working: FuturesOrdered::new(),
            results: VecDeque::new(),
            started: VecDeque::new(),
            pace: Pace::new(session),
            position: position.clone(),
            has_moved: false,
            relisting: Relisting::No,
            is_stopped: false,
            end: WalkEnd::Paused,
        }
    }

    /// Works on at most this many entries at once.
    pub(super) fn with_concurrency(mut self, entries: usize) -> Self {
        self.pace.set_max_at_once(entries);
        self
    }

    /// Begins no more entries. Those that have begun are still returned.
    pub(super) fn stop(&mut self) {
        self.is_stopped = true;
    }

    /// The next step that is done; `None` at the [end](Self::end). `load` reads what entries need, for at most 100 keys,
    /// and `work` is done on several entries at once, whose operations are counted for each.
    ///
    /// Every walk, also one that failed, has to be [finished](Self::finish).
    pub(super) async fn next(
        &mut self,
        mut load: impl FnMut(Vec<Key>) -> Loading<'a, T>,
        mut work: impl FnMut(EntryOperations, Key, T) -> W,
    ) -> Result<Option<Visited<R>>> {
        loop {
            let now = self.session.now();
            let is_spent = self.start_steps(now, &mut work);
            if let Some(Started::EndOfPage { .. }) = self.started.front() {
                self.pace.pass_page();
                self.move_on();
                return Ok(Some(Visited::EndOfPage));
            }
            if !is_spent {
                let values = self.pace.values_to_read(self.queue.loaded(), self.working_entries());
                self.begin_reading(values, &mut load);
            }
            match self.wait(is_spent).await {
                None => {
                    // What was being read is not done.
                    let is_complete = matches!(self.source, Some(Source::Idle(_))) && self.queue.is_done();
                    self.end = match (is_complete, self.is_stopped) {
                        (true, _) => WalkEnd::Complete,
                        (false, true) => WalkEnd::Stopped,
                        (false, false) => WalkEnd::Paused,
                    };
                    return Ok(None);
                }
                Some(Arrival::Read(read)) => match self.take_read(read) {
                    Err(_) if self.session.meter.is_overdrawn() && self.working_entries() > 0 => {
                        // What has begun is still finished.
                        self.source = None;
                    }
                    result => result?,
                },
                Some(Arrival::Work(result)) => {
                    self.pace.finish(self.session.now());
                    let result = result?;
                    self.move_on();
                    return Ok(Some(Visited::Entry(result)));
                }
            }
        }
    }

    /// How the walk ended, once [`next`](Self::next) has returned `None`.
    pub(super) fn end(&self) -> WalkEnd {
        self.end
    }

    /// The position after the last step that was returned.
    pub(super) fn position(&self) -> &Position {
        &self.position
    }

    /// The last entry that has begun and was not returned, if there is one. All entries before it have begun.
    pub(super) fn last_begun(&self) -> Option<&str> {
        self.started.iter().rev().find_map(|started| match started {
            Started::Entry { name, .. } => Some(name.as_str()),
            Started::EndOfPage { .. } => None,
        })
    }

    /// The number of entries that are left, if it is known.
    pub(super) fn entries_left(&self) -> Option<usize> {
        self.queue.entries_left().map(|left| left + self.working_entries())
    }

    /// Waits for something else while the work and the read that have begun go on. It may need a connection, which only
    /// those give back. And a value is as old as the answer that it came with.
    pub(super) async fn during<O>(&mut self, other: impl Future<Output = O>) -> O {
        let mut other = pin!(other);
        poll_fn(|context| {
            let output = other.as_mut().poll(context);
            if output.is_pending() {
                while let Poll::Ready(Some(result)) = self.working.poll_next_unpin(context) {
                    self.results.push_back(result);
                }
                if let Some(Source::Reading(reading)) = &mut self.source
                    && let Poll::Ready(read) = reading.as_mut().poll(context)
                {
                    self.source = Some(Source::Done(read));
                }
            }
            output
        })
        .await
    }

    /// The entries that have begun and are not returned.
    pub(super) fn working_entries(&self) -> usize {
        self.working.len() + self.results.len()
    }

    /// Waits for the work that is on its way, which must not arrive after another run has begun. Returns how the walk
    /// ended: an error after the budget was used up is a pause.
    pub(super) async fn finish(mut self, job: &mut Job<'_>, result: Result<WalkEnd>) -> Result<WalkEnd> {
        while self.working.next().await.is_some() {}
        if self.relisting != Relisting::No {
            job.note_lost_cursor();
        }
        if self.has_moved || matches!(result, Ok(WalkEnd::Complete)) {
            job.note_advance();
        }
        match result {
            Err(_) if self.session.meter.is_overdrawn() => Ok(over_budget(job)),
            result => result,
        }
    }

    /// Starts as many steps as the budget covers. True if it covers no more.
    fn start_steps(&mut self, now: SystemTime, work: &mut impl FnMut(EntryOperations, Key, T) -> W) -> bool {
        loop {
            if self.is_stopped || !self.pace.can_afford_another(now) {
                return true;
            }
            match self.queue.front() {
                None => return false,
                Some(Step::Entry { .. }) if !self.pace.has_room() => return false,
                Some(Step::Entry { loaded, .. })
                    if self.pace.is_stale(loaded.at, now, self.working.len()) =>
                {
                    // What is on its way belongs behind it, and is waited for.
                    if matches!(self.source, Some(Source::Idle(_))) {
                        self.queue.unload();
                    }
                    return false;
                }
                Some(_) => {}
            }
            let Some(step) = self.queue.pop() else { return false };
            self.started.push_back(match step {
                Step::EndOfPage { page } => Started::EndOfPage { page },
                Step::Entry { key, loaded, page } => {
                    let name = key.name.clone();
                    self.working.push_back(work(self.pace.start(now), key, loaded.value));
                    Started::Entry { name, page }
                }
            });
        }
    }

    /// Moves the position behind the first step that was started.
    fn move_on(&mut self) {
        let ahead = sabotage::is_on(Defect::PositionAhead).then(|| self.last_begun().map(str::to_owned));
        let (name, page) = match self.started.pop_front() {
            Some(Started::Entry { name, page }) => (Some(name), page),
            Some(Started::EndOfPage { page }) => (None, page),
            None => return,
        };
        let name = ahead.flatten().or(name);
        if self.position.set_page(&page) {
            self.has_moved |= self.relisting != Relisting::InVain;
        }
        if let Some(name) = name {
            self.position.set_after(name);
            self.has_moved = true;
        }
    }

    /// Waits for a read or for the work on the first entry. `None` if there is nothing to wait for.
    async fn wait(&mut self, is_spent: bool) -> Option<Arrival<'a, T, R>> {
        if let Some(result) = self.results.pop_front() {
            return Some(Arrival::Work(result));
        }
        if let Some(Source::Done(read)) = self.source.take_if(|source| matches!(source, Source::Done(_))) {
            return Some(Arrival::Read(read));
        }
        let is_idle = self.working.is_empty();
        let reading = match &mut self.source {
            Some(Source::Reading(reading)) if !(is_spent && is_idle) => Some(reading),
            _ => None,
        };
        match (reading, is_idle) {
            (None, true) => None,
            (Some(reading), true) => Some(Arrival::Read(reading.await)),
            (None, false) => self.working.next().await.map(Arrival::Work),
            (Some(reading), false) => match select(self.working.next(), reading).await {
                Either::Left((finished, _)) => finished.map(Arrival::Work),
                Either::Right((read, _)) => Some(Arrival::Read(read)),
            },
        }
    }

    /// Begins to load this many values, or to list the next page. Does nothing if the number is zero.
    fn begin_reading(&mut self, values: usize, load: &mut impl FnMut(Vec<Key>) -> Loading<'a, T>) {
        let mut pages = match self.source.take() {
            Some(Source::Idle(pages)) if values > 0 && !self.queue.is_all_taken() => pages,
            other => {
                self.source = other;
                return;
            }
        };
        let reading: BoxFuture<'a, Read<'a, T>> = if self.queue.needs_page() {
            Box::pin(async move {
                let page = pages.next().await;
                Read::Page { pages, page }
            })
        } else {
            let mut chunk = self.queue.take(values);
            let keys = std::mem::take(&mut chunk.keys);
            let loading = (!keys.is_empty()).then(|| load(keys));
            let session = self.session;
            Box::pin(async move {
                let entries = match loading {
                    Some(loading) => loading.await,
                    None => Ok(Vec::new()),
                };
                Read::Values { pages, entries, chunk, at: session.now() }
            })
        };
        self.source = Some(Source::Reading(reading));
    }

    fn take_read(&mut self, read: Read<'a, T>) -> Result {
        let pages = match read {
            Read::Page { pages, page } => {
                let page = page?;
                if let Some(KeyPage { is_first_again: true, .. }) = page {
                    self.relisting = self.position.note_lost_cursor();
                }
                self.queue.add_page(page);
                pages
            }
            Read::Values { pages, entries, chunk, at } => {
                self.queue.add_loaded(chunk, entries?, at);
                pages
            }
        };
        self.source = Some(Source::Idle(pages));
        Ok(())
    }
}
