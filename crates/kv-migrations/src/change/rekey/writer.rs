//! Writes entries to their new keys, and notes each copy for the next checkpoint.

use std::cell::Cell;

use super::copies::{CopyRecord, fingerprint};
use crate::change::hash::HashKey;
use crate::kv::{Entry, Expiration, Key, Kv, KvError, PutOptions, StoreExt};

/// Writes entries to their new keys. Several are written at once: whatever the walk does with the results, the copies are
/// known.
pub(super) struct CopyWriter {
    key: HashKey,
    made: Cell<Vec<CopyRecord>>,
}

impl CopyWriter {
    pub(super) fn new(key: HashKey) -> Self {
        Self { key, made: Cell::default() }
    }

    /// Writes an entry to its new key: its value and metadata as they were read together, and the expiration.
    pub(super) async fn copy(&self, kv: &Kv, key: &Key, entry: Entry, new: String) -> Result<(), KvError> {
        let fingerprint =
            fingerprint(self.key, &key.name, &entry.value, entry.metadata.as_ref(), key.expiration);
        let expiration = key.expiration.map(Expiration::At);
        let options = PutOptions::new().with_metadata(entry.metadata).with_expiration(expiration);
        let result = kv.store().put(&new, &entry.value, &options).await;
        if result.as_ref().err().is_none_or(KvError::may_have_written) {
            self.note(CopyRecord { old: key.name.clone(), new, fingerprint });
        }
        result
    }

    /// Notes a copy that is there already.
    pub(super) fn note(&self, copy: CopyRecord) {
        let mut made = self.made.take();
        made.push(copy);
        self.made.set(made);
    }

    /// The copies since this was asked.
    pub(super) fn take_made(&self) -> Vec<CopyRecord> {
        self.made.take()
    }
}
