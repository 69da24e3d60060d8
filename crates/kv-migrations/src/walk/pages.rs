//! The keys of a range, page after page, from where an earlier request left off.

use std::ops::ControlFlow;

use super::{Position, Range, Walked};
use crate::job::Job;
use crate::kv::{Key, KvError, ListOptions, Page, StoreExt};
use crate::migration::Result;

/// Goes through the keys of a range behind `position`, a page at a time, as far as the budget goes. `look` gets the keys
/// of each page, and the position behind it, until it says to stop.
pub(crate) async fn go_through(
    job: &Job<'_>,
    range: Range<'_>,
    mut position: Position,
    mut look: impl FnMut(&[Key], &Position) -> Result<ControlFlow<()>>,
) -> Result<Walked> {
    let mut pages = Pages::new(job, range, position.clone());
    let mut is_first = true;
    loop {
        if !is_first && !job.can_afford(1) {
            return Ok(Walked::Paused);
        }
        is_first = false;
        let page = match pages.next().await {
            Ok(Some(page)) => page,
            Ok(None) => return Ok(Walked::All),
            Err(_) if job.is_overdrawn() => return Ok(Walked::over_budget(job)),
            Err(error) => return Err(error.into()),
        };
        let end = page.end(&position);
        if look(&page.keys, &end)?.is_break() {
            return Ok(Walked::Stopped);
        }
        if end != position {
            job.note_step();
        }
        position = end;
    }
}

/// The keys of a range, page after page.
pub(super) struct Pages<'a> {
    job: &'a Job<'a>,
    range: Range<'a>,
    position: Position,
    /// Whether the cursor is that of a checkpoint.
    is_resumed: bool,
    is_at_end: bool,
}

/// A page, without what is done already.
pub(super) struct WalkedPage {
    pub(super) keys: Vec<Key>,
    pub(super) cursor: Option<String>,
    pub(super) is_last: bool,
}

impl WalkedPage {
    /// The position behind it.
    fn end(&self, before: &Position) -> Position {
        let last = self.keys.last().map(|key| key.name.clone());
        Position { after: last.or_else(|| before.after.clone()), cursor: self.cursor.clone() }
    }
}

impl<'a> Pages<'a> {
    pub(super) fn new(job: &'a Job<'a>, range: Range<'a>, position: Position) -> Self {
        Self { job, range, position, is_resumed: true, is_at_end: false }
    }

    /// The next page, which can be empty; none after the last one.
    pub(super) async fn next(&mut self) -> Result<Option<WalkedPage>, KvError> {
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
        Ok(Some(WalkedPage { keys, cursor, is_last: self.is_at_end }))
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
