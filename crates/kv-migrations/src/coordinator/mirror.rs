//! Copies markers that changed to KV, where the TypeScript runner, and this one without a coordinator, read them.

use super::journal::Journal;
use super::lease::{Lease, Lost};
use crate::kv::{KvError, PutOptions, Store, StoreExt};

/// Why markers are still to be copied.
pub(super) enum Unmirrored {
    /// KV refused it: it is tried again later.
    Refused(KvError),
    Lost(Lost),
}

/// Copies all that are still to be copied. Each is noted as soon as KV has it.
pub(super) async fn mirror(journal: &Journal, lease: &Lease, kv: &dyn Store) -> Result<(), Unmirrored> {
    let storage_failed = |error| Unmirrored::Lost(Lost::Storage(error));
    for (key, version) in journal.unmirrored().map_err(storage_failed)? {
        let copied = match journal.entry(&key).map_err(storage_failed)? {
            Some(entry) => {
                let options = PutOptions { metadata: entry.metadata, expiration: None };
                kv.put(&key, &entry.value, &options).await
            }
            None => kv.delete(&key).await,
        };
        copied.map_err(Unmirrored::Refused)?;
        let noted = journal.mirrored(&key, version).map_err(storage_failed)?;
        lease.write(noted.into_iter().collect()).map_err(Unmirrored::Lost)?;
    }
    Ok(())
}
