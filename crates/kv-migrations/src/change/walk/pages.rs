//! The keys of a range, page by page, from where an earlier request stopped.

use super::position::{Position, Range};
use crate::kv::{Key, KvError, ListOptions, Page, StoreExt};
use crate::ledger::MARKER_PREFIX;
use crate::session::Session;

/// The pages of a range.
pub(crate) struct Pages<'a> {
    session: &'a Session<'a>,
    range: Range<'a>,
    position: Position,
    /// The cursor of the last page that was no empty end.
    cursor_with_keys: Option<String>,
    /// Whether the cursor comes from a checkpoint.
    is_resumed: bool,
    /// Whether KV no longer knew it.
    has_lost_cursor: bool,
    is_complete: bool,
}

/// A page without the keys that are done already.
pub(crate) struct KeyPage {
    pub(crate) keys: Vec<Key>,
    /// The cursor that the page was listed with. Of an empty last page, the cursor of the page before: nobody can tell
    /// whether a cursor leads to the end or is no longer known.
    pub(super) cursor: Option<String>,
    pub(super) is_last: bool,
    /// Whether it is the first page again, because KV no longer knew the cursor of a checkpoint.
    pub(super) is_first_again: bool,
}

impl KeyPage {
    /// The position after the page.
    pub(crate) fn end(&self, before: &Position) -> Position {
        let mut end = before.clone();
        end.cursor.clone_from(&self.cursor);
        if let Some(last) = self.keys.last() {
            end.set_after(last.name.clone());
        }
        end
    }
}

impl<'a> Pages<'a> {
    pub(crate) fn new(session: &'a Session<'a>, range: Range<'a>, position: Position) -> Self {
        let cursor_with_keys = position.cursor.clone();
        Self {
            session,
            range,
            position,
            cursor_with_keys,
            is_resumed: true,
            has_lost_cursor: false,
            is_complete: false,
        }
    }

    /// Whether the last page was listed.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The next page, which may be empty; `None` after the last one. One operation.
    pub(crate) async fn next(&mut self) -> Result<Option<KeyPage>, KvError> {
        if self.is_complete {
            return Ok(None);
        }
        let Page { mut keys, cursor } = self.list().await?;
        let is_end = keys.is_empty() && cursor.is_none();
        self.is_complete =
            cursor.is_none() || keys.last().is_some_and(|key| self.range.ends_before(&key.name));
        keys.retain(|key| {
            let name = key.name.as_str();
            self.position.is_before(name)
                && !self.range.ends_before(name)
                && !is_marker(self.session, name, self.range.scope.prefix())
                && self.range.scope.takes(key)
        });
        let cursor = std::mem::replace(&mut self.position.cursor, cursor);
        if !is_end {
            self.cursor_with_keys.clone_from(&cursor);
        }
        let cursor = if is_end { self.cursor_with_keys.take() } else { cursor };
        let is_first_again = std::mem::take(&mut self.has_lost_cursor);
        Ok(Some(KeyPage { keys, cursor, is_last: self.is_complete, is_first_again }))
    }

    /// KV does not say how long a cursor is valid. If it no longer knows the cursor of a checkpoint, it may answer that
    /// there are no more keys; then the walk lists all keys from the first one.
    async fn list(&mut self) -> Result<Page, KvError> {
        let page = self.list_from_cursor().await;
        let is_lost = match &page {
            Ok(page) => page.keys.is_empty() && page.cursor.is_none(),
            Err(error) => error.status().is_none_or(|status| (400..429).contains(&status)),
        };
        let is_from_checkpoint = std::mem::take(&mut self.is_resumed) && self.position.cursor.is_some();
        if is_lost && is_from_checkpoint && !self.session.meter.is_overdrawn() {
            self.position.cursor = None;
            self.has_lost_cursor = true;
            return self.list_from_cursor().await;
        }
        page
    }

    async fn list_from_cursor(&self) -> Result<Page, KvError> {
        let options =
            ListOptions::new(self.range.scope.prefix()).with_cursor(self.position.cursor.as_deref());
        self.session.kv.store().list(options).await
    }
}

/// Whether a key is a marker, of this service or another one. Markers are no data, unless `prefix` asks for them: then
/// those of this service are left out.
pub(crate) fn is_marker(session: &Session<'_>, key: &str, prefix: &str) -> bool {
    let is_asked_for = prefix.starts_with(MARKER_PREFIX);
    key.starts_with(MARKER_PREFIX) && (!is_asked_for || key.starts_with(&session.ledger.key("")))
}
