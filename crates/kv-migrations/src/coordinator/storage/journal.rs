//! The markers as the object keeps them: the authority, of which the markers in KV are a copy.
//!
//! The journal is a store, so that a ledger lies on it as on KV. A marker has a [`MarkerRow`] and a row with its value.
//! A row of its own, whatever it holds, says that KV does not have the latest revision yet.

use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};

use super::lease::{Lease, LeaseError, superseded};
use super::marker::{MarkerRow, is_applied};
use super::rows::MARKER;
use super::{RowChange, Storage, StorageError, rows};
use crate::clock::Clock;
use crate::coordinator::observer::{JournalEvent, JournalObserver};
use crate::future::BoxFuture;
use crate::kv::{Answer, BulkValue, Entry, Key, KvError, Metadata, Page, Request, Store};

const VALUE: &str = "value/";
const UNMIRRORED: &str = "unmirrored/";

/// The markers of one object. Without a writer they can only be read.
#[derive(Clone)]
pub(crate) struct Journal {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observer: JournalObserver,
    pub(crate) writer: Option<Writer>,
    pub(crate) failure: Arc<Mutex<Option<StorageError>>>,
}

/// The step that writes markers.
#[derive(Clone)]
pub(crate) struct Writer {
    pub(crate) lease: Arc<Lease>,
    /// The number of the task that it belongs to. `None` for a step that only copies markers.
    pub(crate) task: Option<u64>,
}

impl Journal {
    /// What is known of a marker. `None` if there never was one.
    pub(crate) fn marker(&self, key: &str) -> Result<Option<MarkerRow>, StorageError> {
        rows::read(&*self.storage, &format!("{MARKER}{key}"))
    }

    pub(crate) fn entry(&self, key: &str) -> Result<Option<Entry>, StorageError> {
        let Some(marker) = self.marker(key)?.filter(|marker| marker.exists) else { return Ok(None) };
        let value = self.storage.get(&format!("{VALUE}{key}"))?.unwrap_or_default();
        Ok(Some(Entry::new(value).with_metadata(marker.metadata.map(Metadata::from_json))))
    }

    /// The changes that adopt a marker from KV, which thereby has the latest revision.
    pub(crate) fn adopt(&self, key: &str, entry: &Entry) -> Result<Vec<RowChange>, StorageError> {
        let mirrored = RowChange::delete(format!("{UNMIRRORED}{key}"));
        let [marker, value] = self.changes(key, &self.marker(key)?.unwrap_or_default(), Some(entry));
        Ok(vec![marker, value, mirrored])
    }

    /// The changes that delete a marker whose value is a checkpoint. None for any other marker.
    pub(crate) fn forget_checkpoint(&self, key: &str) -> Result<Vec<RowChange>, StorageError> {
        let holds_checkpoint = self.marker(key)?.is_some_and(|marker| marker.holds_checkpoint());
        if holds_checkpoint { self.own_changes(key, None) } else { Ok(Vec::new()) }
    }

    /// The keys of the markers whose latest revision KV does not have yet.
    pub(crate) fn unmirrored(&self) -> Result<Vec<String>, StorageError> {
        let rows = self.storage.list(UNMIRRORED)?.into_iter();
        Ok(rows.map(|(name, _)| name.strip_prefix(UNMIRRORED).unwrap_or_default().to_owned()).collect())
    }

    /// The latest revision of a marker.
    pub(crate) fn revision(&self, key: &str) -> Result<u64, StorageError> {
        Ok(self.marker(key)?.unwrap_or_default().revision)
    }

    /// The change that notes that KV has this revision. `None` if there is a later one.
    pub(crate) fn mirrored(&self, key: &str, revision: u64) -> Result<Option<RowChange>, StorageError> {
        let is_latest = self.revision(key)? == revision;
        Ok(is_latest.then(|| RowChange::delete(format!("{UNMIRRORED}{key}"))))
    }

    /// Whether what is known of a marker can be read.
    pub(crate) fn is_readable(&self, key: &str) -> Result<bool, StorageError> {
        rows::is_readable(self.marker(key))
    }

    /// The changes that replace a marker of which nothing can be read, and have it mirrored.
    pub(crate) fn replace(&self, key: &str, entry: Option<&Entry>) -> Vec<RowChange> {
        self.changes_after(key, &MarkerRow::default(), entry)
    }

    /// What failed in the storage since this was asked last: as a store, the journal can say so only in words.
    pub(crate) fn take_failure(&self) -> Option<StorageError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Tells the observer that a marker was written for this task, deleted, or adopted.
    pub(crate) fn tell(&self, key: &str, entry: Option<&Entry>, task: Option<u64>) {
        let is_applied = is_applied(entry);
        self.observer.tell(|| JournalEvent::MarkerWritten { key: key.to_owned(), is_applied, task });
    }

    fn keys(&self, prefix: &str) -> Result<Page, StorageError> {
        let mut keys = Vec::new();
        for (name, bytes) in self.storage.list(&format!("{MARKER}{prefix}"))? {
            let marker: MarkerRow = rows::decode(&name, &bytes)?;
            if marker.exists {
                let name = name.strip_prefix(MARKER).unwrap_or_default();
                keys.push(Key::new(name).with_metadata(marker.metadata.map(Metadata::from_json)));
            }
        }
        Ok(Page::new(keys))
    }

    fn values(&self, keys: &[&str]) -> Result<Vec<BulkValue>, StorageError> {
        let value = |key: &&str| {
            Ok(match self.entry(key)?.map(|entry| String::from_utf8(entry.value)) {
                None => BulkValue::Missing,
                Some(Ok(text)) => BulkValue::from_text(text),
                Some(Err(_)) => BulkValue::Unread,
            })
        };
        keys.iter().map(value).collect()
    }

    /// Writes a marker, or deletes it.
    fn write(&self, key: &str, entry: Option<&Entry>) -> Result<(), LeaseError> {
        let Writer { lease, task } = self.writer.as_ref().ok_or(LeaseError::Superseded)?;
        lease.write(self.own_changes(key, entry).map_err(LeaseError::Storage)?)?;
        self.tell(key, entry, *task);
        Ok(())
    }

    /// The changes that write a marker, or delete it, and have it mirrored.
    pub(crate) fn own_changes(
        &self,
        key: &str,
        entry: Option<&Entry>,
    ) -> Result<Vec<RowChange>, StorageError> {
        Ok(self.changes_after(key, &self.marker(key)?.unwrap_or_default(), entry))
    }

    fn changes_after(&self, key: &str, before: &MarkerRow, entry: Option<&Entry>) -> Vec<RowChange> {
        let unmirrored = rows::put(format!("{UNMIRRORED}{key}"), &true);
        let [marker, value] = self.changes(key, before, entry);
        vec![marker, value, unmirrored]
    }

    fn changes(&self, key: &str, before: &MarkerRow, entry: Option<&Entry>) -> [RowChange; 2] {
        let marker = before.next(entry, self.clock.now());
        let value = format!("{VALUE}{key}");
        let value = match entry {
            Some(entry) => RowChange::put(value, entry.value.as_slice()),
            None => RowChange::delete(value),
        };
        [rows::put(format!("{MARKER}{key}"), &marker), value]
    }

    fn answer(&self, request: Request<'_>) -> Result<Answer, KvError> {
        let failed = |error: StorageError| {
            let refused = request.refused(None, error.to_string());
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            refused
        };
        let written = |result: Result<(), LeaseError>| match result {
            Ok(()) => Ok(Answer::Done),
            Err(LeaseError::Superseded) => Err(superseded(request)),
            Err(LeaseError::Storage(error)) => Err(failed(error)),
        };
        match request {
            Request::Get { key } => self.entry(key).map(Answer::Entry).map_err(failed),
            Request::GetBulk { keys } => self.values(keys).map(Answer::Values).map_err(failed),
            Request::List(options) => self.keys(options.prefix).map(Answer::Page).map_err(failed),
            Request::Delete { key } => written(self.write(key, None)),
            Request::Put { key, value, options } => {
                let entry = Entry::new(value).with_metadata(options.metadata.clone());
                written(self.write(key, Some(&entry)))
            }
        }
    }
}

impl Store for Journal {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(ready(self.answer(request)))
    }
}
