//! The keys of a range, page by page, from where an earlier request stopped.

use std::rc::Rc;

use super::position::{PageStart, Position, Range};
use crate::kv::{Key, Kv, KvError, ListOptions, Page, StoreExt};
use crate::sabotage::{self, Defect};
use crate::session::Session;

/// The pages of a range.
pub(crate) struct Pages<'a> {
    session: &'a Session<'a>,
    kv: Kv,
    range: Range<'a>,
    /// All keys up to this one are done.
    after: Option<String>,
    /// The page that comes next.
    next: PageStart,
    /// The cursor of the last page of this prefix that was no empty end.
    cursor_with_keys: Option<Rc<str>>,
    /// Whether the cursor comes from a checkpoint.
    is_resumed: bool,
    /// Whether KV no longer knew it.
    has_lost_cursor: bool,
    is_complete: bool,
}

/// A page without the keys that are done already.
pub(crate) struct KeyPage {
    pub(crate) keys: Vec<Key>,
    /// Where it begins. For an empty last page, where the page before begins: nobody can tell whether a cursor leads to the
    /// end or is no longer known.
    pub(super) start: PageStart,
    /// Where the next prefix begins, if the page is the last one of its prefix; otherwise `start`.
    pub(super) end: PageStart,
    pub(super) is_last: bool,
    /// Whether it is the first page again, because KV no longer knew the cursor of a checkpoint.
    pub(super) is_first_again: bool,
}

impl KeyPage {
    /// The position after the page.
    pub(crate) fn end(&self, before: &Position) -> Position {
        let mut end = before.clone();
        end.set_page(&self.end);
        if let Some(last) = self.keys.last() {
            end.set_after(last.name.clone());
        }
        end
    }
}

impl<'a> Pages<'a> {
    pub(crate) fn new(session: &'a Session<'a>, range: Range<'a>, position: &Position) -> Self {
        let next = position.page();
        let after = position.after().map(str::to_owned);
        let cursor_with_keys = next.cursor.clone();
        let kv = range.scope.kv(session);
        let (is_resumed, has_lost_cursor, is_complete) = (true, false, false);
        Self { session, kv, range, after, next, cursor_with_keys, is_resumed, has_lost_cursor, is_complete }
    }

    /// Whether the last page was listed.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The next page, which may be empty; `None` after the last one. One operation.
    pub(crate) async fn next(&mut self) -> Result<Option<KeyPage>, KvError> {
        let (session, range) = (self.session, self.range);
        let prefixes = range.scope.prefixes();
        let Some(prefix) = prefixes.get(self.next.prefix).filter(|_| !self.is_complete) else {
            self.is_complete = true;
            return Ok(None);
        };
        let Page { mut keys, cursor } = self.list(prefix).await?;
        let is_end = keys.is_empty() && cursor.is_none();
        let is_past = keys.last().is_some_and(|key| range.ends_before(&key.name));
        let ends_prefix = cursor.is_none();
        let is_last_prefix = sabotage::is_on(Defect::FirstPrefixOnly)
            || prefixes.get(self.next.prefix + 1).is_none_or(|next| range.ends_before(next));
        self.is_complete = is_past || ends_prefix && is_last_prefix;
        keys.retain(|key| {
            let name = key.name.as_str();
            self.after.as_deref().is_none_or(|after| after < name)
                && !range.ends_before(name)
                && !range.scope.is_marker(session, name)
                && range.scope.takes(key)
        });
        let listed = std::mem::replace(&mut self.next.cursor, cursor.map(Rc::from));
        if !is_end {
            self.cursor_with_keys.clone_from(&listed);
        }
        let cursor = if is_end { self.cursor_with_keys.take() } else { listed };
        let start = PageStart { prefix: self.next.prefix, cursor };
        let mut end = start.clone();
        if ends_prefix {
            self.next.prefix += 1;
            self.cursor_with_keys = None;
            if !self.is_complete {
                end = self.next.clone();
            }
        }
        let is_first_again = std::mem::take(&mut self.has_lost_cursor);
        Ok(Some(KeyPage { keys, start, end, is_last: self.is_complete, is_first_again }))
    }

    /// KV does not say how long a cursor is valid. If it no longer knows the cursor of a checkpoint, it may answer that
    /// there are no more keys; then the walk lists all keys from the first one.
    async fn list(&mut self, prefix: &str) -> Result<Page, KvError> {
        let page = self.list_from_cursor(prefix).await;
        let is_lost = match &page {
            Ok(page) => page.keys.is_empty() && page.cursor.is_none(),
            Err(error) => error.status().is_none_or(|status| (400..429).contains(&status)),
        };
        let is_from_checkpoint = std::mem::take(&mut self.is_resumed) && self.next.cursor.is_some();
        if is_lost && is_from_checkpoint && !self.session.meter.is_overdrawn() {
            self.next.cursor = None;
            self.has_lost_cursor = true;
            return self.list_from_cursor(prefix).await;
        }
        page
    }

    async fn list_from_cursor(&self, prefix: &str) -> Result<Page, KvError> {
        let options = ListOptions::new(prefix).with_cursor(self.next.cursor.as_deref());
        let page = self.kv.store().list(options).await?;
        self.session.meter.add_keys(page.keys.len());
        Ok(page)
    }
}
