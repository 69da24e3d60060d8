//! The markers as the object keeps them: the authority, of which those in KV are a copy.
//!
//! It is a store, so that a ledger lies on it as it lies on KV.

use std::future::ready;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::fenced::superseded;
use super::lease::{Lease, Lost};
use super::{Change, Storage, StorageError, rows};
use crate::clock::{Clock, milliseconds, parse_iso8601};
use crate::future::BoxFuture;
use crate::kv::{Answer, BulkValue, Entry, Fields, Key, KvError, Metadata, Page, Request, Store};
use crate::ledger::{APPLIED, holds_checkpoint};

const MARKER: &str = "marker/";
const VALUE: &str = "value/";
const UNMIRRORED: &str = "unmirrored/";

/// The markers of one object. Without a lease they can only be read.
#[derive(Clone)]
pub(super) struct Journal {
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    lease: Option<Arc<Lease>>,
}

/// What is kept of a marker beside its value: also of one that was deleted.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) exists: bool,
    /// As it is, as JSON.
    pub(super) metadata: Option<String>,
    /// Whether the value says that the migration is applied.
    pub(super) is_applied: bool,
    /// When it was last applied and then not any more, in milliseconds since 1970: KV may show it as applied for a while.
    undone: Option<u64>,
    /// One more for each time that it was written.
    version: u64,
}

impl Kept {
    fn holds_checkpoint(&self) -> bool {
        let metadata = self.metadata.as_ref().filter(|_| self.exists);
        metadata.is_some_and(|metadata| holds_checkpoint(&Metadata::from_json(metadata)))
    }

    /// Whether it is news that KV shows the migration as applied at this time: not if that was undone since.
    pub(super) fn is_news(&self, run_at: Option<&str>) -> bool {
        let applied = run_at.and_then(parse_iso8601).map(milliseconds);
        let is_later = |undone| applied.is_some_and(|applied| applied > undone);
        !self.is_applied && self.undone.is_none_or(is_later)
    }

    /// Whether it says that there is something to be rolled back.
    pub(super) fn can_be_undone(&self) -> bool {
        self.is_applied || self.holds_checkpoint()
    }
}

impl Journal {
    pub(super) fn new(storage: Arc<dyn Storage>, clock: Arc<dyn Clock>, lease: Option<Arc<Lease>>) -> Self {
        Self { storage, clock, lease }
    }

    /// What is known of a marker; nothing if there never was one.
    pub(super) fn kept(&self, key: &str) -> Result<Option<Kept>, StorageError> {
        rows::read(&*self.storage, &format!("{MARKER}{key}"))
    }

    /// Takes over a marker that stands in KV: there is nothing to be copied to it any more.
    pub(super) fn adopt(&self, key: &str, entry: &Entry) -> Result<Vec<Change>, StorageError> {
        let mirrored = rows::delete(format!("{UNMIRRORED}{key}"));
        let taken_over = self.changes(key, &self.kept(key)?.unwrap_or_default(), Some(entry));
        Ok(taken_over.into_iter().chain([mirrored]).collect())
    }

    /// Deletes a marker whose value is a checkpoint.
    pub(super) fn forget_checkpoint(&self, key: &str) -> Result<Vec<Change>, StorageError> {
        let holds_checkpoint = self.kept(key)?.is_some_and(|kept| kept.holds_checkpoint());
        if holds_checkpoint { self.own_changes(key, None) } else { Ok(Vec::new()) }
    }

    /// The markers that changed, and that KV does not have yet: their keys, and which version.
    pub(super) fn unmirrored(&self) -> Result<Vec<(String, u64)>, StorageError> {
        let rows = self.storage.list(UNMIRRORED)?.into_iter();
        rows.map(|(name, version)| {
            let key = name.strip_prefix(UNMIRRORED).unwrap_or_default().to_owned();
            Ok((key, rows::decode(&name, &version)?))
        })
        .collect()
    }

    /// Notes that KV has this version; not if there is a newer one.
    pub(super) fn mirrored(&self, key: &str, version: u64) -> Result<Option<Change>, StorageError> {
        let is_newest = self.kept(key)?.is_some_and(|kept| kept.version == version);
        Ok(is_newest.then(|| rows::delete(format!("{UNMIRRORED}{key}"))))
    }

    pub(super) fn entry(&self, key: &str) -> Result<Option<Entry>, StorageError> {
        let Some(kept) = self.kept(key)?.filter(|kept| kept.exists) else { return Ok(None) };
        let value = self.storage.get(&format!("{VALUE}{key}"))?.unwrap_or_default();
        Ok(Some(Entry { value, metadata: kept.metadata.map(Metadata::from_json) }))
    }

    fn keys(&self, prefix: &str) -> Result<Page, StorageError> {
        let mut keys = Vec::new();
        for (name, bytes) in self.storage.list(&format!("{MARKER}{prefix}"))? {
            let kept: Kept = rows::decode(&name, &bytes)?;
            if kept.exists {
                let name = name.strip_prefix(MARKER).unwrap_or_default().to_owned();
                let metadata = kept.metadata.map(Metadata::from_json);
                keys.push(Key { name, metadata, expiration: None });
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

    /// Makes the marker so, or deletes it.
    fn write(&self, key: &str, entry: Option<&Entry>) -> Result<(), Lost> {
        let lease = self.lease.as_ref().ok_or(Lost::Superseded)?;
        lease.write(self.own_changes(key, entry).map_err(Lost::Storage)?)
    }

    /// What makes the marker so, or deletes it, and has that mirrored.
    fn own_changes(&self, key: &str, entry: Option<&Entry>) -> Result<Vec<Change>, StorageError> {
        let before = self.kept(key)?.unwrap_or_default();
        let unmirrored = rows::put(format!("{UNMIRRORED}{key}"), &(before.version + 1));
        Ok(self.changes(key, &before, entry).into_iter().chain([unmirrored]).collect())
    }

    /// What makes a marker so, or deletes it.
    fn changes(&self, key: &str, before: &Kept, entry: Option<&Entry>) -> Vec<Change> {
        let is_applied = entry.is_some_and(|entry| entry.value == APPLIED);
        let is_undone = before.is_applied && !is_applied;
        let metadata = entry.and_then(|entry| entry.metadata.as_ref());
        let kept = Kept {
            exists: entry.is_some(),
            metadata: metadata.map(|metadata| metadata.as_json().to_owned()),
            is_applied,
            undone: if is_undone { Some(self.undone_at(before)) } else { before.undone },
            version: before.version + 1,
        };
        let (marker, value) = (format!("{MARKER}{key}"), format!("{VALUE}{key}"));
        let value = match entry {
            Some(entry) => Change::Put { name: value, bytes: entry.value.clone() },
            None => rows::delete(value),
        };
        vec![rows::put(marker, &kept), value]
    }

    /// Now, but not before it was applied: that was another instance perhaps, with another clock.
    fn undone_at(&self, before: &Kept) -> u64 {
        let metadata = before.metadata.as_ref().map(Metadata::from_json);
        let run_at = metadata.and_then(|metadata| Fields::parse(&metadata).text("runAt"));
        let applied = run_at.as_deref().and_then(parse_iso8601).map(milliseconds);
        let now = milliseconds(self.clock.now());
        applied.map_or(now, |applied| now.max(applied))
    }

    fn answer(&self, request: Request<'_>) -> Result<Answer, KvError> {
        let failed = |error: StorageError| request.refused(None, error.to_string());
        let written = |result: Result<(), Lost>| match result {
            Ok(()) => Ok(Answer::Done),
            Err(Lost::Superseded) => Err(superseded(request)),
            Err(Lost::Storage(error)) => Err(failed(error)),
        };
        match request {
            Request::Get { key } => self.entry(key).map(Answer::Entry).map_err(failed),
            Request::GetBulk { keys } => self.values(keys).map(Answer::Values).map_err(failed),
            Request::List(options) => self.keys(options.prefix).map(Answer::Page).map_err(failed),
            Request::Delete { key } => written(self.write(key, None)),
            Request::Put { key, value, options } => {
                let entry = Entry { value: value.to_vec(), metadata: options.metadata.clone() };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::MemoryStorage;
    use crate::testing::ManualClock;

    /// It was applied by an instance whose clock was ahead of that of the one that rolls it back.
    #[test]
    fn what_was_undone_is_no_news_whatever_the_clocks_say() {
        let clock =
            ManualClock::starting_at(parse_iso8601("2026-11-22T10:48:28.000Z").expect("it is a time"));
        let (storage, clock): (Arc<dyn Storage>, Arc<dyn Clock>) =
            (Arc::new(MemoryStorage::new()), Arc::new(clock));
        let lease = Lease::take(&storage, &clock).expect("memory does not fail");
        let journal = Journal::new(storage, clock, Some(Arc::new(lease)));
        let metadata = Metadata::from_json(r#"{"runAt":"2026-11-22T10:48:40.000Z"}"#);
        let applied = Entry { value: APPLIED.to_vec(), metadata: Some(metadata) };
        assert!(journal.write("marker", Some(&applied)).is_ok());
        assert!(journal.write("marker", None).is_ok());

        let kept = journal.kept("marker").expect("memory does not fail").expect("it was there");
        assert!(!kept.is_news(Some("2026-11-22T10:48:40.000Z")), "KV may show it for a while");
        assert!(kept.is_news(Some("2026-11-22T10:48:41.000Z")), "it was applied again since");
    }
}
