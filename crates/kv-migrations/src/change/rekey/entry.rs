//! An entry that a re-key changes on its way.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Result;
use crate::kv::{
    Entry, Expiration, Key, Kv, KvError, KvErrorKind, Metadata, Operation, parse_json,
    without_byte_order_mark,
};

/// An entry that expires sooner is not written again: KV takes no expiration within 60 seconds, and the write may take
/// some time.
const MIN_EXPIRATION_SECONDS: u64 = 90;

/// An entry on its way to its new key: what [`Rekey::changing`](crate::Rekey::changing) gets and returns.
///
/// What is not set stays as it is.
pub struct MovingEntry {
    key: Key,
    value: Vec<u8>,
    expiration: Option<Expiration>,
}

impl MovingEntry {
    pub(super) fn new(key: &Key, entry: Entry) -> Self {
        let expiration = key.expiration.map(Expiration::At);
        Self { key: Key { metadata: entry.metadata, ..key.clone() }, value: entry.value, expiration }
    }

    /// The entry, and when it expires, in seconds since 1970.
    pub(super) fn into_parts(self, now: u64) -> (Entry, Option<u64>) {
        let expiration = self.expiration.map(|expiration| match expiration {
            Expiration::At(at) => at,
            Expiration::After(seconds) => now.saturating_add(seconds),
        });
        (Entry { value: self.value, metadata: self.key.metadata }, expiration)
    }

    /// Returns the name of its old key.
    pub fn name(&self) -> &str {
        &self.key.name
    }

    /// Returns the value.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// Returns the value as text, without a byte order mark; an error if it is not UTF-8.
    pub fn text(&self) -> Result<&str, KvError> {
        std::str::from_utf8(without_byte_order_mark(&self.value))
            .map_err(|_| self.unreadable(KvErrorKind::NotUtf8))
    }

    /// Returns the value, read as [`Kv::json`](crate::kv::Kv::json) reads it; an error if it is not JSON of this
    /// shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, KvError> {
        parse_json(&self.value).map_err(|error| self.unreadable(KvErrorKind::NotJson(error)))
    }

    /// Returns the metadata, if there is any.
    pub fn metadata(&self) -> Option<&Metadata> {
        self.key.metadata.as_ref()
    }

    /// Returns when it expires under its old key, in seconds since 1970. `None` if it does not.
    pub fn expiration(&self) -> Option<u64> {
        self.key.expiration
    }

    /// Sets the value: text or bytes.
    #[must_use]
    pub fn with_value(mut self, value: impl Into<Vec<u8>>) -> Self {
        self.value = value.into();
        self
    }

    /// Sets the value as JSON.
    ///
    /// # Errors
    /// If it cannot be written as JSON: a map needs keys that are text.
    pub fn with_json(self, value: &impl Serialize) -> Result<Self> {
        Ok(self.with_value(serde_json::to_vec(value)?))
    }

    /// Sets the metadata: at most 1,024 bytes of JSON.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn with_metadata(mut self, metadata: &impl Serialize) -> Result<Self> {
        self.key.metadata = Some(Metadata::new(metadata)?);
        Ok(self)
    }

    /// Removes the metadata.
    #[must_use]
    pub fn clear_metadata(mut self) -> Self {
        self.key.metadata = None;
        self
    }

    /// Makes the copy expire this many seconds after it is written: 90 at least, and enough for KV's delay.
    #[must_use]
    pub fn with_expiration_ttl(mut self, seconds: u64) -> Self {
        self.expiration = Some(Expiration::After(seconds));
        self
    }

    /// Makes the copy expire at this time, in seconds since 1970.
    #[must_use]
    pub fn with_expiration(mut self, seconds: u64) -> Self {
        self.expiration = Some(Expiration::At(seconds));
        self
    }

    /// Makes the copy not expire.
    #[must_use]
    pub fn clear_expiration(mut self) -> Self {
        self.expiration = None;
        self
    }

    fn unreadable(&self, kind: KvErrorKind) -> KvError {
        KvError::new(Operation::Get, &self.key.name, kind)
    }
}

/// Without the value: it is the user's.
impl fmt::Debug for MovingEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MovingEntry").field("key", &self.key.name).finish_non_exhaustive()
    }
}

/// Whether an entry or a copy expires too soon to be written.
pub(super) fn expires_soon_at(kv: &Kv, expiration: Option<u64>) -> bool {
    expiration.is_some_and(|at| at < kv.now_seconds().saturating_add(MIN_EXPIRATION_SECONDS))
}
