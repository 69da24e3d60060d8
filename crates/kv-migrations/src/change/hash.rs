//! Keyed hashes: 64 bits of a checkpoint that stand for data.
//!
//! Visitors of a service choose keys and values, and must not be able to make two hashes equal. So the key is secret:
//! random, and kept in the checkpoint alone.

use std::fmt;
use std::hash::Hasher;
#[allow(deprecated, reason = "the standard library has no other hash with a key")]
use std::hash::SipHasher;

use serde::{Deserialize, Serialize};

use crate::random::Random;

/// The secret key of hashes.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HashKey([u64; 2]);

impl HashKey {
    pub(super) fn new(random: &Random) -> Self {
        Self(random.number())
    }

    /// Begins a hash: SipHash-2-4.
    ///
    /// Source: <https://www.aumasson.jp/siphash/siphash.pdf>.
    pub(super) fn hash(self) -> Hash {
        let [first, second] = self.0;
        #[allow(deprecated, reason = "see the import")]
        Hash(SipHasher::new_with_keys(first, second))
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey")
    }
}

/// A hash of several parts. Each counts with its length, so that no other parts are the same bytes.
#[allow(deprecated, reason = "see the import")]
pub(super) struct Hash(SipHasher);

impl Hash {
    #[must_use]
    pub(super) fn with(mut self, part: &[u8]) -> Self {
        self.0.write(&(part.len() as u64).to_le_bytes());
        self.0.write(part);
        self
    }

    pub(super) fn finish(&self) -> u64 {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of its authors: of the bytes `00 01 02 …`, with the key `00 01 … 0f`. A checkpoint of an earlier
    /// release holds hashes, which must stay the same.
    #[test]
    fn the_hash_is_siphash_2_4() {
        let mut hasher = HashKey([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]).hash().0;
        assert_eq!(hasher.finish(), 0x726f_db47_dd0e_0e31);
        hasher.write(&[0]);
        assert_eq!(hasher.finish(), 0x74f8_39c5_93dc_67fd);
        hasher.write(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
        assert_eq!(hasher.finish(), 0xa129_ca61_49be_45e5);
    }

    #[test]
    fn parts_that_are_the_same_bytes_together_have_other_hashes() {
        let hash = |one: &[u8], other: &[u8]| HashKey([1, 2]).hash().with(one).with(other).finish();
        assert_ne!(hash(b"ab", b"c"), hash(b"a", b"bc"));
        assert_ne!(hash(b"abc", b""), hash(b"", b"abc"));
    }

    #[test]
    fn another_key_gives_another_hash() {
        assert_ne!(HashKey([1, 2]).hash().with(b"a").finish(), HashKey([1, 3]).hash().with(b"a").finish());
    }
}
