//! New keys that several entries have, and what became of these entries.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::copies::Copies;

/// What a checkpoint keeps of new keys that several entries have.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Contests {
    /// The new keys, as hashes.
    pub(super) keys: BTreeSet<u64>,
    /// The entries that are not compared yet: new key and old key.
    pub(super) contenders: BTreeSet<(String, String)>,
    /// The bytes of their keys.
    pub(super) bytes: usize,
    /// The old key of the entry that has won so far, for each new key.
    pub(super) winners: BTreeMap<String, String>,
    /// The others, as they were when they were compared.
    pub(super) losers: Copies,
}

impl Contests {
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether another entry gets the new key of this one.
    pub(super) fn is_lost(&self, old: &str) -> bool {
        self.losers.new_key(old).is_some()
    }

    pub(super) fn has_losers(&self) -> bool {
        !self.losers.is_empty()
    }

    pub(super) fn first_loser(&self) -> Option<String> {
        self.losers.old_keys().next().map(str::to_owned)
    }
}
