//! What a walk has before it, in the order of the keys: what is listed, and what of that is loaded.

use std::collections::VecDeque;
use std::time::SystemTime;

use super::pages::KeyPage;
use super::position::PageStart;
use crate::kv::Key;

/// The steps before a walk.
pub(super) struct Queue<T> {
    /// What is listed and not loaded.
    listed: VecDeque<Step<()>>,
    /// What is loaded and not started.
    loaded: VecDeque<Step<Loaded<T>>>,
    /// The number of entries that are listed and not started.
    unstarted: usize,
    /// Whether the last page is listed.
    is_listed: bool,
}

/// One step, on a page.
pub(super) enum Step<L> {
    Entry {
        key: Key,
        loaded: L,
        page: PageStart,
    },
    /// With the page that comes next, or the same one.
    EndOfPage {
        page: PageStart,
    },
}

/// What was loaded for an entry.
pub(super) struct Loaded<T> {
    pub(super) value: T,
    pub(super) at: SystemTime,
}

/// Keys of one page that are to be loaded together.
pub(super) struct Chunk {
    pub(super) keys: Vec<Key>,
    page: PageStart,
    /// Where the walk is behind the page, if the chunk is the end of it.
    end: Option<Box<PageStart>>,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self { listed: VecDeque::new(), loaded: VecDeque::new(), unstarted: 0, is_listed: false }
    }

    /// Whether all is listed, loaded and started.
    pub(super) fn is_done(&self) -> bool {
        self.is_all_taken() && self.loaded.is_empty()
    }

    /// Whether nothing is left to list or to load.
    pub(super) fn is_all_taken(&self) -> bool {
        self.is_listed && self.listed.is_empty()
    }

    /// Whether the next page has to be listed first.
    pub(super) fn needs_page(&self) -> bool {
        self.listed.is_empty()
    }

    /// How many steps are loaded.
    pub(super) fn loaded(&self) -> usize {
        self.loaded.len()
    }

    /// The number of entries that are not started, once the last page is listed.
    pub(super) fn entries_left(&self) -> Option<usize> {
        self.is_listed.then_some(self.unstarted)
    }

    /// Adds a page; `None` after the last one.
    pub(super) fn add_page(&mut self, page: Option<KeyPage>) {
        let Some(KeyPage { keys, start, end, is_last, .. }) = page else {
            self.is_listed = true;
            return;
        };
        self.unstarted += keys.len();
        self.is_listed = is_last;
        let entry = |key| Step::Entry { key, loaded: (), page: start.clone() };
        self.listed.extend(keys.into_iter().map(entry));
        self.listed.push_back(Step::EndOfPage { page: end });
    }

    /// Takes at most this many keys of one page, to load them.
    pub(super) fn take(&mut self, number: usize) -> Chunk {
        let (mut keys, mut last) = (Vec::new(), PageStart::default());
        while let Some(step) = self.listed.pop_front() {
            match step {
                Step::EndOfPage { page } => return Chunk { keys, page: last, end: Some(Box::new(page)) },
                Step::Entry { .. } if keys.len() == number => {
                    self.listed.push_front(step);
                    break;
                }
                Step::Entry { key, page, .. } => {
                    keys.push(key);
                    last = page;
                }
            }
        }
        Chunk { keys, page: last, end: None }
    }

    /// Adds what was loaded for a chunk.
    pub(super) fn add_loaded(&mut self, chunk: Chunk, entries: Vec<(Key, T)>, at: SystemTime) {
        let Chunk { page, end, .. } = chunk;
        let entry = |(key, value)| {
            let loaded = Loaded { value, at };
            Step::Entry { key, loaded, page: page.clone() }
        };
        self.loaded.extend(entries.into_iter().map(entry));
        self.loaded.extend(end.map(|page| Step::EndOfPage { page: *page }));
    }

    /// Forgets what is loaded, so that it is loaded again. No chunk may be on its way: it belongs behind that.
    pub(super) fn unload(&mut self) {
        for step in self.loaded.drain(..).rev() {
            self.listed.push_front(match step {
                Step::Entry { key, page, .. } => Step::Entry { key, loaded: (), page },
                Step::EndOfPage { page } => Step::EndOfPage { page },
            });
        }
    }

    /// The next step that is loaded.
    pub(super) fn front(&self) -> Option<&Step<Loaded<T>>> {
        self.loaded.front()
    }

    /// Takes the next step, to start it.
    pub(super) fn pop(&mut self) -> Option<Step<Loaded<T>>> {
        let step = self.loaded.pop_front();
        if let Some(Step::Entry { .. }) = step {
            self.unstarted = self.unstarted.saturating_sub(1);
        }
        step
    }
}
