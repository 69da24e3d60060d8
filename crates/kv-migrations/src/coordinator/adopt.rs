//! Adopts markers from KV: those from before there was a coordinator, and those of runs without it.

use super::error::CoordinatorError;
use super::object::Coordinator;
use super::records::put_adopted;
use super::storage::journal::Journal;
use super::storage::{RowChange, StorageError};
use crate::error::Error;
use crate::ledger::{Ledger, Marker};

/// Adopts markers before anything is answered for the first time.
pub(super) async fn adopt_once<C>(coordinator: &Coordinator<C>) -> Result<(), CoordinatorError> {
    let Coordinator { runner, records, .. } = coordinator;
    if records.has_adopted()? {
        return Ok(());
    }
    adopt(&runner.ledger(), runner.registered().ids(), &records.journal(), |mut changes| {
        // Another call may have done it in the meantime, and a run may have begun since.
        let is_first = !records.has_adopted()?;
        if is_first {
            changes.push(put_adopted());
            records.storage.write(&changes)?;
        }
        Ok(is_first)
    })
    .await
}

/// Adopts what KV knows and the object does not. `write` writes the changes, and returns whether it did.
///
/// A migration that the object has never seen is taken as KV shows it, and so is the note of a rollback of several. A migration that the object knows as not
/// applied, and that KV shows as applied, was applied without the object: an `up` that finished must not run again. The
/// exception is a migration that the object has undone itself, because KV may still show the earlier state.
pub(super) async fn adopt(
    kv: &Ledger,
    registered: impl Iterator<Item = &str>,
    journal: &Journal,
    write: impl FnOnce(Vec<RowChange>) -> Result<bool, StorageError>,
) -> Result<(), CoordinatorError> {
    // KV has nothing new to say of what is applied, so that its markers are not read. A row that cannot be read fails below.
    let may_be_news =
        |key: &str| !journal.marker(key).is_ok_and(|row| row.is_some_and(|row| row.is_applied()));
    let mut found = Vec::new();
    let markers = kv.load_wanted(registered, &may_be_news).await?;
    let note = kv.rollback_note_entry(&markers).await.map_err(Error::Ledger)?;
    found.extend(note.map(|note| (kv.rollback_note_key(), None, note)));
    for (id, marker) in markers.iter() {
        let key = kv.key(id);
        let (run_at, entry) = match marker {
            Marker::Applied(applied) => (Some(applied.run_at.clone()), Some(kv.applied_entry(applied))),
            _ if journal.marker(&key)?.is_some() => continue,
            // It may have been deleted since it was listed.
            _ => (None, kv.entry(id).await.map_err(Error::Ledger)?),
        };
        found.extend(entry.map(|entry| (key, run_at, entry)));
    }
    // Decided when all is read, since another caller may have written a row in the meantime.
    let (mut changes, mut adopted) = (Vec::new(), Vec::new());
    for (key, run_at, entry) in found {
        let is_news = match (run_at, journal.marker(&key)?) {
            (_, None) => true,
            (Some(run_at), Some(known)) => known.is_news(run_at.as_deref()),
            (None, Some(_)) => false,
        };
        if is_news {
            changes.extend(journal.adopt(&key, &entry)?);
            adopted.push((key, entry));
        }
    }
    if write(changes)? {
        for (key, entry) in &adopted {
            journal.tell(key, Some(entry), None);
        }
    }
    Ok(())
}
