//! The limits of KV that every store enforces.
//!
//! Source: <https://developers.cloudflare.com/kv/platform/limits/>.

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 512;

/// The most bytes that the metadata of a value can have, written as JSON.
pub const MAX_METADATA_BYTES: usize = 1024;

/// The most bytes that a value can have: 25 MiB.
pub const MAX_VALUE_BYTES: usize = 25 * 1024 * 1024;

/// How far ahead an expiration must lie at least, in seconds.
pub const MIN_TTL_SECONDS: u64 = 60;

/// The latest time at which an entry can expire, in seconds since 1970: in January 2038. The Workers runtime
/// refuses any later one.
pub const MAX_EXPIRATION_SECONDS: u64 = i32::MAX as u64;

/// The most keys that one bulk get reads.
pub const MAX_BULK_KEYS: usize = 100;

/// The most bytes that the values of one bulk get can have together: 25 MiB.
pub const MAX_BULK_BYTES: usize = 25 * 1024 * 1024;

/// The most keys on one page of a list.
pub const MAX_PAGE_KEYS: u32 = 1000;

/// How many operations of one request can wait for their answers at the same time.
///
/// Source: <https://developers.cloudflare.com/workers/platform/limits/#simultaneous-open-connections>.
pub const MAX_CONNECTIONS: usize = 6;
