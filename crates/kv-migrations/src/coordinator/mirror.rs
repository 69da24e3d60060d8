//! Copies markers that changed to KV, where the TypeScript runner, and this one without a coordinator, read them.

use std::time::Duration;

use futures_util::stream::{self, TryStreamExt};

use super::journal::Journal;
use super::lease::{Lease, Lost};
use super::{Storage, StorageError, rows};
use crate::kv::limits::MAX_CONNECTIONS;
use crate::kv::{KvError, PutOptions, Store, StoreExt};

/// The row of how often copying has failed since it last succeeded.
pub(super) const FAILURES: &str = "mirror";
/// How long to wait before it is tried again: twice as long each time, up to an hour.
const AGAIN: Duration = Duration::from_secs(30);
const AGAIN_AT_MOST: Duration = Duration::from_hours(1);

/// Why markers are still to be copied.
pub(super) enum Unmirrored {
    /// KV refused it: it is tried again later.
    Refused(KvError),
    Lost(Lost),
}

/// Copies all that are still to be copied. Each is noted as soon as KV has it.
pub(super) async fn mirror(journal: &Journal, lease: &Lease, kv: &dyn Store) -> Result<(), Unmirrored> {
    let unmirrored = journal.unmirrored().map_err(storage_failed)?;
    let copies = stream::iter(unmirrored.into_iter().map(Ok));
    let copy = async |(key, version): (String, u64)| copy(journal, lease, kv, &key, version).await;
    copies.try_for_each_concurrent(MAX_CONNECTIONS, copy).await
}

async fn copy(
    journal: &Journal,
    lease: &Lease,
    kv: &dyn Store,
    key: &str,
    version: u64,
) -> Result<(), Unmirrored> {
    let copied = match journal.entry(key).map_err(storage_failed)? {
        Some(entry) => {
            let options = PutOptions { metadata: entry.metadata, expiration: None };
            kv.put(key, &entry.value, &options).await
        }
        None => kv.delete(key).await,
    };
    copied.map_err(Unmirrored::Refused)?;
    let noted = journal.mirrored(key, version).map_err(storage_failed)?;
    lease.write(noted.into_iter().collect()).map_err(Unmirrored::Lost)
}

fn storage_failed(error: StorageError) -> Unmirrored {
    Unmirrored::Lost(Lost::Storage(error))
}

pub(super) fn failures(storage: &dyn Storage) -> Result<u32, StorageError> {
    Ok(rows::read(storage, FAILURES)?.unwrap_or(0))
}

/// How long to wait before what failed is tried again.
pub(super) fn wait(storage: &dyn Storage) -> Result<Duration, StorageError> {
    let failures = failures(storage)?.saturating_sub(1).min(16);
    Ok(AGAIN.saturating_mul(1 << failures).min(AGAIN_AT_MOST))
}
