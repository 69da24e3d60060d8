//! Takes over the markers that stand in KV: of the time before there was a coordinator, or of a time without.

use super::journal::Journal;
use super::{Change, CoordinatorError, Storage, StorageError, rows};
use crate::error::Error;
use crate::ledger::{Ledger, Marker};

const ROW: &str = "adopted";

/// Whether that was ever done for this object.
pub(super) fn is_done(storage: &dyn Storage) -> Result<bool, StorageError> {
    Ok(storage.get(ROW)?.is_some())
}

/// The changes that take over what the object does not know.
///
/// Of a migration that it never heard of, whatever KV says. Of one that it knows as not applied, that KV says it is
/// applied, unless the object itself has undone that, and KV does not show it yet: then it was applied without the
/// object, and an `up` that finished must not run again.
pub(super) async fn adopt(
    kv: &Ledger,
    registered: impl Iterator<Item = &str>,
    journal: &Journal,
) -> Result<Vec<Change>, CoordinatorError> {
    let mut changes = vec![rows::put(ROW, &true)];
    for (id, marker) in kv.load(registered).await?.iter() {
        let key = kv.key(id);
        let entry = match (marker, journal.kept(&key)?) {
            (Marker::Applied(applied), kept) => {
                let is_news = kept.is_none_or(|kept| kept.is_news(applied.run_at.as_deref()));
                is_news.then(|| kv.applied_entry(applied))
            }
            (_, Some(_)) => None,
            // It may have been deleted since it was listed.
            (_, None) => kv.entry(id).await.map_err(Error::Ledger)?,
        };
        if let Some(entry) = entry {
            changes.extend(journal.adopt(&key, &entry)?);
        }
    }
    Ok(changes)
}
