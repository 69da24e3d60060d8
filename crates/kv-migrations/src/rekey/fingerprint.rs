//! What an entry was when it was copied, in 8 bytes.

use crate::kv::Metadata;

/// FNV-1a, whose results are the same in every release: they are kept in checkpoints.
///
/// Source: <https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>.
pub(super) struct Fingerprint(u64);

impl Fingerprint {
    pub(super) fn of_key(key: &str) -> u64 {
        Self(0xcbf2_9ce4_8422_2325).with(key.as_bytes()).0
    }

    pub(super) fn of_entry(
        key: &str,
        value: &[u8],
        metadata: Option<&Metadata>,
        expiration: Option<u64>,
    ) -> u64 {
        Self(Self::of_key(key))
            .with(&[0xff])
            .with(without_mark(value))
            .with(&[0xff])
            .with(metadata.map_or("", Metadata::as_json).as_bytes())
            .with(&expiration.unwrap_or(0).to_le_bytes())
            .0
    }

    fn with(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
    }
}

/// The value without a byte order mark at its front, which only a single get reads.
pub(super) fn without_mark(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(value)
}
