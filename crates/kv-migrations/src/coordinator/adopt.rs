//! Takes over the markers that stand in KV: of the time before there was a coordinator, or of a time without.

use super::journal::Journal;
use super::{Change, CoordinatorError, Storage, StorageError, rows};
use crate::error::Error;
use crate::kv::Entry;
use crate::ledger::{Ledger, Marker};

const ROW: &str = "adopted";

/// Whether that was ever done for this object.
pub(super) fn is_done(storage: &dyn Storage) -> Result<bool, StorageError> {
    Ok(storage.get(ROW)?.is_some())
}

/// The changes that take over what the object does not know.
///
/// Of a migration that it never heard of, whatever KV says. Of one that it knows as not applied, that KV says it is
/// applied, unless that is what the object itself has undone, and KV does not show yet: then it was applied without the
/// object, and an `up` that finished must not run again.
pub(super) async fn adopt(
    kv: &Ledger,
    registered: impl Iterator<Item = &str>,
    journal: &Journal,
) -> Result<Vec<Change>, CoordinatorError> {
    let mut changes = vec![rows::put(ROW, &true)];
    for (id, marker) in kv.read(registered).await?.iter() {
        let key = kv.key(id);
        let entry = match marker {
            Marker::Applied(applied) => kv.applied(applied),
            _ if journal.kept(&key)?.is_some() => continue,
            // It may have been deleted since it was listed.
            _ => match kv.get(id).await.map_err(Error::Ledger)? {
                Some(entry) => entry,
                None => continue,
            },
        };
        if is_new(journal, &key, &entry)? {
            changes.extend(journal.adopt(&key, &entry)?);
        }
    }
    Ok(changes)
}

fn is_new(journal: &Journal, key: &str, entry: &Entry) -> Result<bool, StorageError> {
    let Some(kept) = journal.kept(key)? else { return Ok(true) };
    let metadata = entry.metadata.as_ref().map(|metadata| metadata.as_json().to_owned());
    Ok(!kept.is_applied && !kept.undone.contains(&metadata))
}
