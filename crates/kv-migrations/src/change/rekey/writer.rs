//! Writes entries to their new keys, and notes each copy for the next checkpoint.

use std::cell::Cell;

use super::collision::Collision;
use super::copies::{CopyHash, CopyRecord, fingerprint};
use super::entry::{MovingEntry, expires_soon_at};
use super::state::RekeyState;
use crate::change::Job;
use crate::change::hash::HashKey;
use crate::change::walk::WalkEnd;
use crate::error::Result;
use crate::future::BoxFuture;
use crate::kv::limits::MAX_EXPIRATION_SECONDS;
use crate::kv::{Entry, Expiration, Key, Kv, KvError, PutOptions, StoreExt};

/// How many changed copies are held, and how many bytes of them, until a checkpoint has their records.
const MAX_PREPARED: usize = 200;
const MAX_PREPARED_BYTES: usize = 2 * 1024 * 1024;

/// Changes entries, and writes the copies. A trait object, so that only a re-key that changes has the code.
pub(super) trait Changing {
    /// The copy of an entry.
    fn change<'a>(&'a self, entry: MovingEntry, new: &'a str) -> BoxFuture<'a, Result<MovingEntry>>;

    /// Writes the copies that were prepared.
    fn write<'a>(
        &'a self,
        job: &'a mut Job<'_>,
        state: &'a mut RekeyState,
        writer: &'a CopyWriter,
    ) -> BoxFuture<'a, Result>;

    /// Writes what is still prepared at the end of a pass.
    fn finish<'a>(
        &'a self,
        end: Result<WalkEnd>,
        job: &'a mut Job<'_>,
        state: &'a mut RekeyState,
        writer: &'a CopyWriter,
    ) -> BoxFuture<'a, Result<WalkEnd>>;
}

/// Writes entries to their new keys. Several are written at once: whatever the walk does with the results, the copies are
/// known.
pub(super) struct CopyWriter {
    key: HashKey,
    /// The namespace of the new keys.
    new: Kv,
    made: Cell<Vec<CopyRecord>>,
    prepared: Cell<Vec<PreparedCopy>>,
    prepared_bytes: Cell<usize>,
}

/// What is known of a new key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Free,
    /// It has a copy, or the same as the copy.
    Occupied,
}

/// A copy that is to be written.
pub(super) struct PreparedCopy {
    pub(super) record: CopyRecord,
    pub(super) value: Vec<u8>,
    pub(super) options: PutOptions,
    /// Whether nothing was at the new key.
    pub(super) must_be_free: bool,
}

/// An entry as it is to be at its new key.
pub(super) struct NewEntry {
    pub(super) entry: Entry,
    record: CopyRecord,
    pub(super) expiration: Option<u64>,
}

impl NewEntry {
    /// Makes it from an entry that was read: its value and metadata as they were read together, and the expiration. A
    /// collision if it cannot be written.
    pub(super) async fn new(
        changing: Option<&dyn Changing>,
        hash: HashKey,
        kv: &Kv,
        key: &Key,
        entry: Entry,
        new: String,
    ) -> Result<Result<Self, Collision>> {
        let old = key.name.clone();
        let fingerprint = fingerprint(hash, &old, &entry.value, entry.metadata.as_ref(), key.expiration);
        let Some(changing) = changing else {
            let record = CopyRecord { old, new, fingerprint, written: None, is_confirmed: false };
            return Ok(Ok(Self { entry, record, expiration: key.expiration }));
        };
        let changed = changing.change(MovingEntry::new(key, entry), &new).await?;
        let (entry, expiration) = changed.into_parts(kv.now_seconds());
        if expiration.is_some_and(|at| at > MAX_EXPIRATION_SECONDS) {
            return Ok(Err(Collision::expires_late(&old)));
        }
        if expires_soon_at(kv, expiration) {
            return Ok(Err(Collision::expires_soon(&old, &new)));
        }
        let written = Some(CopyHash::new(hash, &old, &entry.value, entry.metadata.as_ref(), expiration));
        let record = CopyRecord { old, new, fingerprint, written, is_confirmed: false };
        Ok(Ok(Self { entry, record, expiration }))
    }

    /// The record of it, where it is at the new key already.
    pub(super) fn into_record(self) -> CopyRecord {
        CopyRecord { is_confirmed: true, ..self.record }
    }
}

impl CopyWriter {
    pub(super) fn new(key: HashKey, new: Kv) -> Self {
        Self { key, new, made: Cell::default(), prepared: Cell::default(), prepared_bytes: Cell::default() }
    }

    pub(super) fn hash_key(&self) -> HashKey {
        self.key
    }

    /// The namespace of the new keys, for what belongs to no entry.
    pub(super) fn namespace(&self) -> &Kv {
        &self.new
    }

    /// Writes an entry to its new key. A changed one is written later, once a checkpoint has its record.
    pub(super) async fn write(&self, kv: &Kv, copy: NewEntry, place: Place) -> Result<(), KvError> {
        let NewEntry { entry, record, expiration } = copy;
        let Entry { value, metadata } = entry;
        let expiration = expiration.map(Expiration::At);
        let options = PutOptions::new().with_metadata(metadata).with_expiration(expiration);
        if record.written.is_some() {
            self.prepare(PreparedCopy { record, value, options, must_be_free: place == Place::Free });
            return Ok(());
        }
        let result = kv.store().put(&record.new, &value, &options).await;
        if result.as_ref().err().is_none_or(KvError::may_have_written) {
            self.note(CopyRecord { is_confirmed: result.is_ok(), ..record });
        }
        result
    }

    fn prepare(&self, copy: PreparedCopy) {
        self.prepared_bytes.set(self.prepared_bytes.get() + copy.value.len());
        let mut prepared = self.prepared.take();
        prepared.push(copy);
        self.prepared.set(prepared);
    }

    /// The copies that are to be written.
    pub(super) fn take_prepared(&self) -> Vec<PreparedCopy> {
        self.prepared_bytes.set(0);
        self.prepared.take()
    }

    /// How many copies are to be written.
    pub(super) fn prepared(&self) -> usize {
        let prepared = self.prepared.take();
        let number = prepared.len();
        self.prepared.set(prepared);
        number
    }

    /// Whether no more are to be held.
    pub(super) fn is_full(&self) -> bool {
        self.prepared() >= MAX_PREPARED || self.prepared_bytes.get() >= MAX_PREPARED_BYTES
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
