//! Where a walk is, which keys it goes over, and how it ended.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::scope::Scope;
use crate::change::Job;

/// How far a walk has got.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The last key that is done.
    after: Option<String>,
    /// KV's cursor of the page that contains it, which spares listing the pages before. Only the key decides what is done.
    /// Not the cursor of the next page: that page may be empty, and then nobody could tell whether it was the last one or
    /// the cursor is no longer known.
    cursor: Option<String>,
    /// How many prefixes are done. The cursor is one of the next prefix.
    prefix: u32,
    /// How many requests in a row found that KV no longer knew the cursor, listed all keys from the first one, and did not
    /// get beyond `after`.
    relisted: u32,
}

/// Where a page begins: how many prefixes come before, and KV's cursor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PageStart {
    pub(super) prefix: u32,
    pub(super) cursor: Option<Rc<str>>,
}

/// Whether a walk lists pages again that are done, because KV no longer knew the cursor of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relisting {
    No,
    Begun,
    /// It is no advance: the next request would do it again.
    InVain,
}

/// How many such requests there may be. The next one would do the same.
const MAX_RELISTED: u32 = 3;

impl Position {
    /// The last key that is done.
    pub(crate) fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// Becomes `other`, and keeps its buffers.
    pub(crate) fn set(&mut self, other: &Self) {
        self.after.clone_from(&other.after);
        self.cursor.clone_from(&other.cursor);
        (self.prefix, self.relisted) = (other.prefix, other.relisted);
    }

    /// The position after a key.
    pub(super) fn set_after(&mut self, key: String) {
        (self.after, self.relisted) = (Some(key), 0);
    }

    /// Notes that KV no longer knew the cursor.
    pub(super) fn note_lost_cursor(&mut self) -> Relisting {
        self.relisted = self.relisted.saturating_add(1);
        if self.relisted > MAX_RELISTED { Relisting::InVain } else { Relisting::Begun }
    }

    /// Moves to this page. False if it is there already.
    pub(super) fn set_page(&mut self, page: &PageStart) -> bool {
        let is_there = self.prefix == page.prefix && self.cursor.as_deref() == page.cursor.as_deref();
        if !is_there {
            (self.prefix, self.cursor) = (page.prefix, page.cursor.as_deref().map(str::to_owned));
        }
        !is_there
    }

    /// The page that it is on.
    pub(super) fn page(&self) -> PageStart {
        PageStart { prefix: self.prefix, cursor: self.cursor.as_deref().map(Rc::from) }
    }
}

/// The keys that a walk goes over: those of a scope, up to and including `until`.
#[derive(Clone, Copy)]
pub(crate) struct Range<'a> {
    pub(crate) scope: &'a Scope,
    pub(crate) until: Option<&'a str>,
}

impl<'a> Range<'a> {
    /// All keys of a scope.
    pub(crate) fn all(scope: &'a Scope) -> Self {
        Self { scope, until: None }
    }

    /// Whether the range ends before `key`.
    pub(super) fn ends_before(&self, key: &str) -> bool {
        self.until.is_some_and(|until| key > until)
    }
}

/// How a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WalkEnd {
    /// There are no more keys.
    Complete,
    /// The caller stopped it.
    Stopped,
    /// The budget is used up.
    Paused,
    /// The budget is used up, and this request got nowhere with it.
    Stuck,
}

/// How a walk ends at an operation that was refused because the budget is used up.
pub(crate) fn over_budget(job: &Job<'_>) -> WalkEnd {
    if job.has_advanced() { WalkEnd::Paused } else { WalkEnd::Stuck }
}
