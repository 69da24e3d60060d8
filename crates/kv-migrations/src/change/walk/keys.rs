//! A walk over keys alone, page by page, as far as the budget allows.

use super::pages::Pages;
use super::position::{Position, Range, Relisting, WalkEnd, over_budget};
use crate::change::Job;
use crate::error::Result;
use crate::kv::Key;
use crate::session::Session;

/// A walk over keys.
pub(crate) struct KeyWalk<'a> {
    session: &'a Session<'a>,
    pages: Pages<'a>,
    position: Position,
    is_first: bool,
    relisting: Relisting,
    end: WalkEnd,
}

impl<'a> KeyWalk<'a> {
    pub(crate) fn new(session: &'a Session<'a>, range: Range<'a>, position: &Position) -> Self {
        let pages = Pages::new(session, range, position);
        let (position, end) = (position.clone(), WalkEnd::Paused);
        Self { session, pages, position, is_first: true, relisting: Relisting::No, end }
    }

    /// The keys of the next page, which may be none; `None` at the [end](Self::end).
    pub(crate) async fn next(&mut self, job: &mut Job<'_>) -> Result<Option<Vec<Key>>> {
        let is_spent = self.session.meter.left() == 0 && !self.pages.is_complete();
        if is_spent && !std::mem::take(&mut self.is_first) {
            self.end = WalkEnd::Paused;
            return Ok(None);
        }
        self.is_first = false;
        match self.pages.next().await {
            Ok(Some(page)) => {
                if page.is_first_again {
                    job.note_lost_cursor();
                    self.relisting = self.position.note_lost_cursor();
                }
                let end = page.end(&self.position);
                let has_moved = match self.relisting {
                    Relisting::InVain => !page.keys.is_empty(),
                    _ => end != self.position,
                };
                if has_moved {
                    job.note_advance();
                }
                self.position = end;
                Ok(Some(page.keys))
            }
            Ok(None) => {
                job.note_advance();
                self.end = WalkEnd::Complete;
                Ok(None)
            }
            Err(_) if self.session.meter.is_overdrawn() => {
                self.end = over_budget(job);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Zero after the last page; not known before.
    pub(crate) fn entries_left(&self) -> Option<usize> {
        self.pages.is_complete().then_some(0)
    }

    /// How the walk ended, once [`next`](Self::next) has returned `None`.
    pub(crate) fn end(&self) -> WalkEnd {
        self.end
    }

    /// The position after the last page that was returned.
    pub(crate) fn position(&self) -> &Position {
        &self.position
    }
}
