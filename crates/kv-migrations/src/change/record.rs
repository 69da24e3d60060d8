//! An entry, as a backfill or a fold gets it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::BoxError;
use crate::kv::{
    Key, Kv, KvError, KvErrorKind, Metadata, Operation, Put, parse_json, without_byte_order_mark,
};

/// One entry: its key, value, metadata and expiration.
///
/// The value was read in bulk where that is exact, so that a byte order mark at its start is lost: see
/// [`BulkValue`](crate::kv::BulkValue). Entries that no bulk get can read, such as the key `42`, keep it in
/// [`value`](Self::value); [`text`](Self::text) and [`json`](Self::json) leave it out for all. Metadata and expiration come from a list, which can be a minute older than the
/// value if the entry was written a moment ago.
///
/// # Example
/// ```
/// use kv_migrations::{Backfill, Migration};
/// use serde_json::{Map, Value};
///
/// let verified = Backfill::new("customer_", async |_, customer, _: &()| {
///     let mut fields: Map<String, Value> = customer.json()?;
///     fields.entry("verified").or_insert(false.into());
///     customer.put_json(&fields).await?; // in place: metadata and expiration stay
///     Ok(())
/// });
/// let migration = Migration::backfill("003_verified", "Fill in `verified`", verified);
/// # let _ = migration;
/// ```
pub struct Record {
    kv: Kv,
    key: Key,
    value: Vec<u8>,
    /// Whether the value was read; otherwise it is empty.
    is_read: bool,
    is_repeated: bool,
    is_changed: AtomicBool,
}

impl Record {
    pub(crate) fn new(kv: &Kv, key: Key, value: Vec<u8>) -> Self {
        let is_changed = AtomicBool::new(false);
        Self { kv: kv.clone(), key, value, is_read: true, is_repeated: false, is_changed }
    }

    pub(crate) fn with_value_read(self, is_read: bool) -> Self {
        Self { is_read, ..self }
    }

    /// Takes the value out.
    pub(super) fn into_value(self) -> Vec<u8> {
        self.value
    }

    pub(super) fn set_key(&mut self, key: Key) {
        self.key = key;
    }

    pub(crate) fn repeated(self, is_repeated: bool) -> Self {
        Self { is_repeated, ..self }
    }

    /// Whether it was written or deleted through this record.
    pub(crate) fn is_changed(&self) -> bool {
        self.is_changed.load(Ordering::Relaxed)
    }

    fn note_change(&self) {
        self.is_changed.store(true, Ordering::Relaxed);
    }

    /// Returns whether an earlier request began this entry and did not finish it, or may not have: it failed, or
    /// the budget ended amid it. So some of its writes may be made already, and others not.
    ///
    /// After a crash nobody knows all entries that had begun, so that `false` proves nothing: write in an order in which a
    /// second time does no harm, the entry itself last.
    ///
    /// # Example
    /// ```
    /// use kv_migrations::Backfill;
    ///
    /// let index = Backfill::new("user_", async |kv, user, _: &()| {
    ///     if user.value().ends_with(b"+") && !user.is_repeated() {
    ///         return Ok(()); // done before
    ///     }
    ///     kv.put(&format!("seen_{}", user.name()), "1").await?;
    ///     if !user.value().ends_with(b"+") {
    ///         user.put([user.value(), b"+"].concat()).await?; // last, so that it proves the rest
    ///     }
    ///     Ok(())
    /// });
    /// # let _: Backfill = index;
    /// ```
    pub fn is_repeated(&self) -> bool {
        self.is_repeated
    }

    /// Returns the name of the key.
    pub fn name(&self) -> &str {
        &self.key.name
    }

    /// Returns the key, with its metadata and its expiration: what
    /// [`Put::with_options_of`](crate::kv::Put::with_options_of) takes.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Returns the metadata, if there is any.
    pub fn metadata(&self) -> Option<&Metadata> {
        self.key.metadata.as_ref()
    }

    /// Returns the value. Empty if only keys are read: see [`Backfill::keys_only`](crate::Backfill::keys_only).
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// Returns the value as text, without a byte order mark; an error if it is not UTF-8, or if only keys are read.
    pub fn text(&self) -> Result<&str, KvError> {
        self.check_read()?;
        std::str::from_utf8(without_byte_order_mark(&self.value))
            .map_err(|_| self.unreadable(KvErrorKind::NotUtf8))
    }

    /// Returns the value, read as [`Kv::json`](crate::kv::Kv::json) reads it; an error if it is not JSON of this
    /// shape, or if only keys are read.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, KvError> {
        self.check_read()?;
        parse_json(&self.value).map_err(|error| self.unreadable(KvErrorKind::NotJson(error)))
    }

    /// Replaces the value with text or bytes. Metadata and expiration stay unless they are set: see [`Put`]. One
    /// operation.
    pub fn put(&self, value: impl AsRef<[u8]>) -> Put<'_> {
        self.note_change();
        self.kv.put(&self.key.name, value).with_options_of(&self.key)
    }

    /// Replaces the value with JSON. Metadata and expiration stay unless they are set: see [`Put`]. One operation.
    pub fn put_json(&self, value: &impl Serialize) -> Put<'_> {
        self.note_change();
        self.kv.put_json_of(&self.key.name, value, self.value.len()).with_options_of(&self.key)
    }

    /// Deletes the entry. One operation.
    pub async fn delete(&self) -> Result<(), KvError> {
        self.note_change();
        self.kv.delete(&self.key.name).await
    }

    fn check_read(&self) -> Result<(), KvError> {
        if self.is_read {
            return Ok(());
        }
        let message = "nothing was sent: with `keys_only` values are not read. Take that off, or read it with `Kv::get`";
        Err(KvError::refused(Operation::Get, &self.key.name, None, message))
    }

    fn unreadable(&self, kind: KvErrorKind) -> KvError {
        KvError::new(Operation::Get, &self.key.name, kind)
    }
}

/// Without the value: it is the user's.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("key", &self.key.name).finish_non_exhaustive()
    }
}

/// The error of a closure, which stays its source.
#[derive(Debug)]
pub(super) struct AtEntry {
    pub(super) name: String,
    pub(super) source: BoxError,
}

impl fmt::Display for AtEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at the entry `{}`", self.name)
    }
}

impl std::error::Error for AtEntry {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}
