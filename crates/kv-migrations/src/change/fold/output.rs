//! What a fold writes.

use std::fmt;

use serde::Serialize;

use crate::change::hash::HashKey;
use crate::error::Result;
use crate::kv::{Kv, KvError, Metadata, PutOptions, StoreExt};

/// An entry that a [`Fold`](crate::Fold) writes.
#[derive(Clone)]
pub struct FoldOutput {
    pub(super) key: String,
    value: Vec<u8>,
    options: PutOptions,
}

impl FoldOutput {
    /// Text or bytes, without metadata and expiration.
    pub fn new(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), value: value.into(), options: PutOptions::default() }
    }

    /// A value as JSON, without metadata and expiration.
    ///
    /// # Errors
    /// If it cannot be written as JSON: a map needs keys that are text.
    pub fn json(key: impl Into<String>, value: &impl Serialize) -> Result<Self> {
        Ok(Self::new(key, serde_json::to_vec(value)?))
    }

    /// Sets the metadata: at most 1,024 bytes of JSON.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn with_metadata(mut self, metadata: &impl Serialize) -> Result<Self> {
        self.options.metadata = Some(Metadata::new(metadata)?);
        Ok(self)
    }

    pub(super) fn hash(&self, key: HashKey) -> u64 {
        entry_hash(key, &self.key, &self.value, self.options.metadata.as_ref())
    }

    pub(super) async fn write(&self, kv: &Kv) -> Result<(), KvError> {
        kv.store().put(&self.key, &self.value, &self.options).await
    }
}

/// Outputs in the order of their keys, which does not depend on how a request iterated over a map.
///
/// # Errors
/// If two have the same key.
pub(super) fn in_order(mut outputs: Vec<FoldOutput>) -> Result<Vec<FoldOutput>> {
    outputs.sort_by(|one, other| one.key.cmp(&other.key));
    match outputs.iter().zip(outputs.iter().skip(1)).find(|(one, next)| one.key == next.key) {
        Some((twice, _)) => Err(format!("the key `{}` would be written twice", twice.key).into()),
        None => Ok(outputs),
    }
}

/// The hash of an entry, by which a fold recognizes what it wrote.
pub(super) fn entry_hash(key: HashKey, name: &str, value: &[u8], metadata: Option<&Metadata>) -> u64 {
    let metadata = metadata.map_or("", Metadata::as_json);
    key.hash().with(name.as_bytes()).with(value).with(metadata.as_bytes()).finish()
}

/// Without the value: it is the user's.
impl fmt::Debug for FoldOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FoldOutput").field("key", &self.key).finish_non_exhaustive()
    }
}
