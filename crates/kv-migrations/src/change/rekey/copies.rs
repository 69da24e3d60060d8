//! What was copied, and what the entries were then.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::change::hash::HashKey;
use crate::kv::{Metadata, without_byte_order_mark};

/// How many copies are remembered, and how many bytes of keys: a checkpoint holds them.
const MAX_COPIES: usize = 50_000;
const MAX_KEY_BYTES: usize = 1024 * 1024;

/// One copy.
#[derive(Debug, Clone)]
pub(super) struct CopyRecord {
    pub(super) old: String,
    pub(super) new: String,
    /// The [fingerprint](fingerprint) of the entry as it was copied.
    pub(super) fingerprint: u64,
    /// The hash of the copy, if it was changed on its way.
    pub(super) written: Option<CopyHash>,
    /// Whether KV has confirmed the write.
    pub(super) is_confirmed: bool,
}

/// Recognizes a changed copy: by its value, and by its metadata and expiration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CopyHash(u64, u64);

impl CopyHash {
    pub(super) fn new(
        key: HashKey,
        old: &str,
        value: &[u8],
        metadata: Option<&Metadata>,
        expiration: Option<u64>,
    ) -> Self {
        let value = key.hash().with(old.as_bytes()).with(without_byte_order_mark(value)).finish();
        let metadata = metadata.map_or("", Metadata::as_json);
        let rest = key.hash().with(old.as_bytes()).with(metadata.as_bytes());
        Self(value, rest.with(&expiration.unwrap_or(0).to_le_bytes()).finish())
    }
}

/// The copies of a batch. A copy is known by both of its keys, in full, and by the fingerprint of its entry.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Copies {
    /// By the old key.
    made: BTreeMap<String, Destination>,
    /// The bytes of all keys.
    bytes: usize,
}

/// The copies of an entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Destination {
    pub(super) new: String,
    /// More than one, if the entry was copied again: KV may still show an earlier copy.
    pub(super) fingerprints: Vec<u64>,
    /// The hash of each copy, where copies are changed on their way.
    pub(super) written: Vec<CopyHash>,
    /// Whether KV has not confirmed the last one: an earlier copy, or something else, may be there in its place.
    pub(super) is_unconfirmed: bool,
}

impl Copies {
    pub(super) fn insert(&mut self, copy: CopyRecord) {
        let CopyRecord { old, new, fingerprint, written, is_confirmed } = copy;
        if let Some(made) = self.made.get_mut(&old).filter(|made| made.new == new) {
            made.add(fingerprint, written, is_confirmed);
            return;
        }
        self.bytes += old.len() + new.len();
        let mut made =
            Destination { new, fingerprints: Vec::new(), written: Vec::new(), is_unconfirmed: false };
        made.add(fingerprint, written, is_confirmed);
        self.made.insert(old, made);
    }

    /// Adds all of other copies.
    pub(super) fn append(&mut self, other: Self) {
        for (old, Destination { new, fingerprints, written, is_unconfirmed }) in other.made {
            let mut written = written.into_iter();
            for fingerprint in fingerprints {
                let (old, new, written) = (old.clone(), new.clone(), written.next());
                let is_confirmed = !is_unconfirmed;
                self.insert(CopyRecord { old, new, fingerprint, written, is_confirmed });
            }
        }
    }

    /// Notes that KV has confirmed the last copy of an old key.
    pub(super) fn confirm(&mut self, old: &str, new: &str) {
        if let Some(made) = self.made.get_mut(old).filter(|made| made.new == new) {
            made.is_unconfirmed = false;
        }
    }

    /// Whether it is not known that the last copy of an old key was written.
    pub(super) fn is_unconfirmed(&self, old: &str) -> bool {
        self.made.get(old).is_some_and(|made| made.is_unconfirmed)
    }

    /// Whether a changed copy of the entry with this fingerprint has this value.
    pub(super) fn has_value(&self, old: &str, new: &str, fingerprint: u64, copy: CopyHash) -> bool {
        self.changed(old, new).any(|(of, written)| of == fingerprint && written.0 == copy.0)
    }

    /// Whether this is a changed copy of the entry with this fingerprint.
    pub(super) fn has_copy(&self, old: &str, new: &str, fingerprint: u64, copy: CopyHash) -> bool {
        self.changed(old, new).any(|pair| pair == (fingerprint, copy))
    }

    /// Whether this is a changed copy of the entry, as it is or as it was.
    pub(super) fn has_written(&self, old: &str, new: &str, copy: CopyHash) -> bool {
        self.changed(old, new).any(|(_, written)| written == copy)
    }

    fn changed(&self, old: &str, new: &str) -> impl Iterator<Item = (u64, CopyHash)> {
        let made = self.made.get(old).filter(|made| made.new == new);
        made.into_iter().flat_map(|made| made.fingerprints.iter().copied().zip(made.written.iter().copied()))
    }

    /// Forgets the copies of an old key. Returns what they were.
    pub(super) fn remove(&mut self, old: &str) -> Option<Destination> {
        let made = self.made.remove(old)?;
        self.bytes = self.bytes.saturating_sub(old.len() + made.new.len());
        Some(made)
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

impl Destination {
    fn add(&mut self, fingerprint: u64, written: Option<CopyHash>, is_confirmed: bool) {
        self.is_unconfirmed = !is_confirmed;
        // Nearly always there is but one.
        self.fingerprints.reserve_exact(1);
        match written {
            None if self.fingerprints.contains(&fingerprint) => {}
            None => self.fingerprints.push(fingerprint),
            Some(written) => {
                self.fingerprints.push(fingerprint);
                self.written.push(written);
            }
        }
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
        CopyRecord {
            old: old.to_owned(),
            new: new.to_owned(),
            fingerprint,
            written: None,
            is_confirmed: true,
        }
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
    fn a_changed_copy_belongs_to_the_entry_that_it_was_made_of() {
        let (older, newer) = (CopyHash(1, 1), CopyHash(2, 1));
        let record = |fingerprint, written| CopyRecord {
            written: Some(written),
            ..copy("user_1", "user:1", fingerprint)
        };
        let mut copies = Copies::default();
        copies.insert(record(7, older));
        copies.insert(record(8, newer));
        assert!(
            copies.has_copy("user_1", "user:1", 7, older) && copies.has_copy("user_1", "user:1", 8, newer)
        );
        assert!(!copies.has_copy("user_1", "user:1", 8, older), "the copy of an earlier entry");
        assert!(
            copies.has_written("user_1", "user:1", older) && !copies.has_written("user_1", "user:2", older)
        );
        assert!(copies.has_value("user_1", "user:1", 8, CopyHash(2, 9)), "another expiration, perhaps");
    }

    #[test]
    fn what_was_not_confirmed_stays_so_until_it_is() {
        let mut again = Copies::default();
        again.insert(CopyRecord { is_confirmed: false, ..copy("user_1", "user:1", 8) });
        let mut copies = Copies::default();
        copies.insert(copy("user_1", "user:1", 7));
        assert!(!copies.is_unconfirmed("user_1"));
        copies.append(again);
        let mut copies: Copies = postcard::from_bytes(&postcard::to_allocvec(&copies).unwrap()).unwrap();
        assert!(copies.is_unconfirmed("user_1"), "a checkpoint keeps it");
        copies.confirm("user_1", "user:2");
        assert!(copies.is_unconfirmed("user_1"), "another new key");
        copies.confirm("user_1", "user:1");
        assert!(!copies.is_unconfirmed("user_1"));
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
