//! Recognizes an entry as it was when it was copied, by 8 bytes.

use crate::kv::Metadata;

/// FNV-1a. Checkpoints keep its results, so that they must be the same in every release.
///
/// Source: <https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn with(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
    }
}

/// The fingerprint of a key.
pub(super) fn key_fingerprint(key: &str) -> u64 {
    Fnv::new().with(key.as_bytes()).0
}

/// The fingerprint of an entry: of its old key, its value, its metadata and its expiration.
pub(super) fn entry_fingerprint(
    key: &str,
    value: &[u8],
    metadata: Option<&Metadata>,
    expiration: Option<u64>,
) -> u64 {
    Fnv::new()
        .with(key.as_bytes())
        .with(&[0xff])
        .with(without_byte_order_mark(value))
        .with(&[0xff])
        .with(metadata.map_or("", Metadata::as_json).as_bytes())
        .with(&expiration.unwrap_or(0).to_le_bytes())
        .0
}

/// The value without a byte order mark at its start, which only a single get reads.
pub(super) fn without_byte_order_mark(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(value)
}
