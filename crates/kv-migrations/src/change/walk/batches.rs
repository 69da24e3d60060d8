//! A walk over keys whose reader says how many of them it has done.

use std::collections::VecDeque;

use super::pages::Pages;
use super::position::{PageStart, Position, Range};
use crate::error::Result;
use crate::kv::Key;
use crate::session::Session;

/// A walk over batches of keys.
pub(crate) struct BatchWalk<'a> {
    pages: Pages<'a>,
    /// The keys of the page that are not done.
    keys: VecDeque<Key>,
    page: PageStart,
    position: Position,
}

impl<'a> BatchWalk<'a> {
    pub(crate) fn new(session: &'a Session<'a>, range: Range<'a>, position: &Position) -> Self {
        let pages = Pages::new(session, range, position);
        Self { pages, keys: VecDeque::new(), page: position.page(), position: position.clone() }
    }

    /// The keys that come next, at most this many. Empty before the next page is [listed](Self::list), and at the end.
    pub(crate) fn next(&self, number: usize) -> Vec<Key> {
        self.keys.iter().take(number).cloned().collect()
    }

    /// Lists the next page, which may be empty. False after the last one. One operation.
    pub(crate) async fn list(&mut self) -> Result<bool> {
        let Some(page) = self.pages.next().await? else { return Ok(false) };
        if page.keys.is_empty() {
            self.position = page.end(&self.position);
        }
        self.page = page.start;
        self.keys = page.keys.into();
        Ok(true)
    }

    /// Moves the position behind the keys up to this one. Returns how many that are.
    pub(crate) fn pass(&mut self, last: &str) -> usize {
        let mut number = 0;
        while self.keys.front().is_some_and(|key| key.name.as_str() <= last) {
            number += 1;
            self.position.set_page(&self.page);
            if let Some(key) = self.keys.pop_front() {
                self.position.set_after(key.name);
            }
        }
        number
    }

    /// The position after the last key that is done.
    pub(crate) fn position(&self) -> &Position {
        &self.position
    }

    /// The number of keys that are left, if it is known.
    pub(crate) fn entries_left(&self) -> Option<usize> {
        self.pages.is_complete().then_some(self.keys.len())
    }
}
