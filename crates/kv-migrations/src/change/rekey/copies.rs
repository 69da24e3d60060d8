//! What was copied, and what the entries were then.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::change::hash::HashKey;
use crate::kv::{Metadata, without_byte_order_mark};

/// How many copies are remembered, and how many bytes of keys: a checkpoint holds them.
const MAX_COPIES: usize = 50_000;
const MAX_KEY_BYTES: usize = 1024 * 1024;

/// One copy.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CopyRecord {
    pub(super) old: String,
    pub(super) new: String,
    /// The [fingerprint](fingerprint) of the entry as it was copied.
    pub(super) fingerprint: u64,
}

/// The copies of a batch. A copy is known by both of its keys, in full, and by the fingerprint of its entry.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Copies {
    /// By the old key.
    made: BTreeMap<String, Destination>,
    /// The bytes of all keys.
    bytes: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Destination {
    new: String,
    /// More than one, if the entry was copied again: KV may still show an earlier copy.
    fingerprints: Vec<u64>,
}

impl Copies {
    pub(super) fn insert(&mut self, copy: CopyRecord) {
        let CopyRecord { old, new, fingerprint } = copy;
        if let Some(made) = self.made.get_mut(&old).filter(|made| made.new == new) {
            if !made.fingerprints.contains(&fingerprint) {
                made.fingerprints.push(fingerprint);
            }
            return;
        }
        self.bytes += old.len() + new.len();
        self.made.insert(old, Destination { new, fingerprints: vec![fingerprint] });
    }

    /// Adds all of other copies.
    pub(super) fn append(&mut self, other: Self) {
        for (old, Destination { new, fingerprints }) in other.made {
            for fingerprint in fingerprints {
                self.insert(CopyRecord { old: old.clone(), new: new.clone(), fingerprint });
            }
        }
    }

    /// Forgets the copies of an old key. Returns the new key and the fingerprints.
    pub(super) fn remove(&mut self, old: &str) -> Option<(String, Vec<u64>)> {
        let Destination { new, fingerprints } = self.made.remove(old)?;
        self.bytes = self.bytes.saturating_sub(old.len() + new.len());
        Some((new, fingerprints))
    }

    /// The old keys, in their order.
    pub(super) fn old_keys(&self) -> impl Iterator<Item = &str> {
        self.made.keys().map(String::as_str)
    }

    /// Whether the entry with this fingerprint was copied from `old` to `new`.
    pub(super) fn contains(&self, old: &str, new: &str, fingerprint: u64) -> bool {
        let destination = self.made.get(old).filter(|made| made.new == new);
        destination.is_some_and(|made| made.fingerprints.contains(&fingerprint))
    }

    /// The key that the entry of an old key was copied to.
    pub(super) fn new_key(&self, old: &str) -> Option<&str> {
        self.made.get(old).map(|made| made.new.as_str())
    }

    /// The last old key.
    pub(super) fn last(&self) -> Option<&str> {
        self.made.last_key_value().map(|(old, _)| old.as_str())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.made.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.made.len() >= MAX_COPIES || self.bytes >= MAX_KEY_BYTES
    }
}

/// Recognizes the entry of an old key by 8 bytes: its key, its value, its metadata and its expiration.
pub(super) fn fingerprint(
    key: HashKey,
    old: &str,
    value: &[u8],
    metadata: Option<&Metadata>,
    expiration: Option<u64>,
) -> u64 {
    key.hash()
        .with(old.as_bytes())
        .with(without_byte_order_mark(value))
        .with(metadata.map_or("", Metadata::as_json).as_bytes())
        .with(&expiration.unwrap_or(0).to_le_bytes())
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(old: &str, new: &str, fingerprint: u64) -> CopyRecord {
        CopyRecord { old: old.to_owned(), new: new.to_owned(), fingerprint }
    }

    #[test]
    fn a_fingerprint_alone_is_no_copy() {
        let mut copies = Copies::default();
        copies.insert(copy("user_1", "user:1", 7));
        assert!(copies.contains("user_1", "user:1", 7));
        assert!(!copies.contains("user_2", "user:1", 7), "another old key, with the same hash");
        assert!(!copies.contains("user_1", "user:2", 7), "another new key");
        assert!(!copies.contains("user_1", "user:1", 8), "another entry");
    }

    #[test]
    fn an_entry_that_was_copied_again_is_known_by_both_copies() {
        let mut copies = Copies::default();
        for fingerprint in [7, 8, 7] {
            copies.insert(copy("user_1", "user:1", fingerprint));
        }
        assert!(copies.contains("user_1", "user:1", 7) && copies.contains("user_1", "user:1", 8));
    }

    #[test]
    fn a_batch_is_bounded_by_the_size_of_its_keys_too() {
        let mut copies = Copies::default();
        let mut number = 0;
        while !copies.is_full() {
            copies.insert(copy(&format!("user_{number:0500}"), &format!("user:{number:0500}"), 1));
            number += 1;
        }
        assert_eq!(number, 1_039, "a MiB of keys");
    }
}
