//! Where the entries of a batch go, and copies under keys that they no longer get. A checkpoint keeps both where the mapping
//! sees values: these may change at any time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::copies::{CopyHash, Destination};

/// How many targets a batch has, and how many bytes of keys: the checkpoint holds as many again as copies.
const MAX_TARGETS: usize = 25_000;
const MAX_KEY_BYTES: usize = 512 * 1024;

/// The targets of a batch.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Targets {
    /// The new key of each old key.
    new: BTreeMap<String, String>,
    /// The bytes of all keys.
    bytes: usize,
    /// By the key that an entry no longer gets.
    outdated: BTreeMap<String, OutdatedCopy>,
    /// Whether an entry has got another target since the phase began.
    #[serde(skip)]
    pub(super) is_changed: bool,
    /// Whether the check has found an entry to move. Kept: the next request does not come to that entry again.
    pub(super) is_stopped: bool,
}

/// What may be at a key that an entry no longer gets.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OutdatedCopy {
    /// The old key of the entry.
    pub(super) old: String,
    /// The fingerprints of the copies that were made there. None, if a request that was cut off may have made one.
    pub(super) fingerprints: Vec<u64>,
    /// The hash of each copy, where copies are changed on their way.
    pub(super) written: Vec<CopyHash>,
}

impl Targets {
    pub(super) fn get(&self, old: &str) -> Option<&str> {
        self.new.get(old).map(String::as_str)
    }

    pub(super) fn is_full(&self) -> bool {
        self.new.len() >= MAX_TARGETS || self.bytes >= MAX_KEY_BYTES
    }

    /// Whether there is nothing to keep.
    pub(super) fn is_empty(&self) -> bool {
        self.new.is_empty() && self.outdated.is_empty() && !self.is_stopped
    }

    pub(super) fn has_outdated(&self) -> bool {
        !self.outdated.is_empty()
    }

    /// Ends a batch.
    pub(super) fn clear(&mut self) {
        self.new.clear();
        self.bytes = 0;
    }

    /// The first outdated copy, and its key.
    pub(super) fn first_outdated(&self) -> Option<(&str, &OutdatedCopy)> {
        self.outdated.first_key_value().map(|(new, copy)| (new.as_str(), copy))
    }

    pub(super) fn remove_outdated(&mut self, new: &str) -> Option<OutdatedCopy> {
        self.outdated.remove(new)
    }

    /// Notes that these copies of an entry are at a key that it no longer gets, or may be there.
    pub(super) fn add_outdated(&mut self, old: &str, copies: Destination) {
        let none = || OutdatedCopy { old: old.to_owned(), fingerprints: Vec::new(), written: Vec::new() };
        let outdated = self.outdated.entry(copies.new).or_insert_with(none);
        outdated.fingerprints.extend(copies.fingerprints);
        outdated.written.extend(copies.written);
    }

    /// Whether something may be at a key that its entry no longer gets.
    pub(super) fn is_outdated(&self, new: &str) -> bool {
        self.outdated.contains_key(new)
    }

    /// Sets the new key of an old key; none if it stays. Returns the one before, if that was another one.
    pub(super) fn set(&mut self, old: &str, new: Option<&str>) -> Option<String> {
        let before = match new {
            Some(new) => self.new.insert(old.to_owned(), new.to_owned()),
            None => self.new.remove(old),
        };
        if before.is_none() {
            self.bytes += new.map_or(0, |new| old.len() + new.len());
        }
        before.filter(|before| Some(before.as_str()) != new)
    }
}
