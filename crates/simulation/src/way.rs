//! How a backfill or a fold goes about what it does.

use crate::moving::group_of;

/// How a migration goes about what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Entry by entry, with its value.
    Plain,
    /// A backfill that gets this many entries at once.
    Batches(usize),
    /// A fold that adds to the index that is there.
    Merging,
    /// A fold that reads no values.
    KeysOnly,
    /// Only some of the entries.
    Only,
}

impl Way {
    /// Whether it takes the entry with this name.
    pub fn takes(self, name: &str) -> bool {
        self != Self::Only || group_of(name) > 0
    }
}
