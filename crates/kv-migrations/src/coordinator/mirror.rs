//! Copies markers that changed to KV, where the TypeScript runner, and this one without a coordinator, read them.

use std::time::{Duration, SystemTime};

use futures_util::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};

use super::journal::Journal;
use super::lease::{Lease, Lost};
use super::{Change, Storage, StorageError, rows};
use crate::clock::{at_milliseconds, milliseconds};
use crate::kv::limits::MAX_CONNECTIONS;
use crate::kv::{KvError, PutOptions, Store, StoreExt};

const ROW: &str = "mirror";
/// How long to wait before it is tried again: twice as long each time, up to an hour.
const AGAIN: Duration = Duration::from_secs(30);
const AGAIN_AT_MOST: Duration = Duration::from_hours(1);

/// What is kept of the last time that KV refused a copy.
#[derive(Default, Serialize, Deserialize)]
struct Trouble {
    /// How often it has since it last took all.
    failures: u32,
    /// When it is tried again: milliseconds since 1970.
    again: u64,
}

/// Why markers are still to be copied.
pub(super) enum Unmirrored {
    /// KV refused it: it is tried again later.
    Refused(KvError),
    Lost(Lost),
}

/// Copies so many of those that are still to be copied. Each is noted as soon as KV has it; one that KV refuses does not
/// stop the others.
pub(super) async fn mirror(
    journal: &Journal,
    lease: &Lease,
    kv: &dyn Store,
    most: usize,
) -> Result<(), Unmirrored> {
    let unmirrored = journal.unmirrored().map_err(storage_failed)?;
    let copy = async |(key, version): (String, u64)| copy(journal, lease, kv, &key, version).await;
    let copies = stream::iter(unmirrored.into_iter().take(most)).map(copy).buffer_unordered(MAX_CONNECTIONS);
    copies.fold(Ok(()), async |all, one| all.and(one)).await
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

/// The change that notes that KV has refused a copy, and when it is tried again.
pub(super) fn refused(storage: &dyn Storage, now: SystemTime) -> Result<Change, StorageError> {
    let failures = trouble(storage)?.failures;
    let wait = AGAIN.saturating_mul(1 << failures.min(16)).min(AGAIN_AT_MOST);
    let again = milliseconds(now + wait);
    Ok(rows::put(ROW, &Trouble { failures: failures.saturating_add(1), again }))
}

/// The change that notes that it has taken what it was sent: if there are more, the next alarm copies those.
pub(super) fn done() -> Change {
    rows::delete(ROW)
}

/// When what is still to be copied is to be: not before, for what KV refuses takes a step's time.
pub(super) fn due(storage: &dyn Storage) -> Result<SystemTime, StorageError> {
    Ok(at_milliseconds(trouble(storage)?.again))
}

fn trouble(storage: &dyn Storage) -> Result<Trouble, StorageError> {
    Ok(rows::read(storage, ROW)?.unwrap_or_default())
}
