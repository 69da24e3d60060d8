//! Copies markers that changed to KV, where the TypeScript runner reads them, and this runner without a coordinator.

use std::time::{Duration, SystemTime};

use futures_util::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};

use super::journal::Journal;
use super::lease::{Lease, LeaseError};
use super::{RowChange, Storage, StorageError, rows};
use crate::clock::{at_milliseconds, milliseconds};
use crate::kv::limits::MAX_CONNECTIONS;
use crate::kv::{KvError, PutOptions, Store, StoreExt};

const ROW: &str = "mirror";
/// The pause after KV rejected a copy. It doubles with each further time.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const MAX_PAUSE: Duration = Duration::from_hours(1);

/// When copies are retried, while KV rejects them.
#[derive(Default, Serialize, Deserialize)]
struct MirrorBackoff {
    /// How many times in a row KV rejected a copy.
    failures: u32,
    /// Milliseconds since 1970.
    retry_at: u64,
}

/// Why markers are still to be copied.
pub(crate) enum MirrorError {
    /// KV rejected a copy.
    Rejected(KvError),
    Lease(LeaseError),
}

/// Copies at most `max` of the markers that KV does not have yet. Each one is noted as soon as KV has it. One that KV
/// rejects does not stop the others.
pub(crate) async fn copy_markers(
    journal: &Journal,
    lease: &Lease,
    kv: &dyn Store,
    max: usize,
) -> Result<(), MirrorError> {
    let unmirrored = journal.unmirrored().map_err(storage_failed)?;
    let copy = async |key: String| copy(journal, lease, kv, &key).await;
    let copies = stream::iter(unmirrored.into_iter().take(max)).map(copy).buffer_unordered(MAX_CONNECTIONS);
    copies.fold(Ok(()), async |all, one| all.and(one)).await
}

async fn copy(journal: &Journal, lease: &Lease, kv: &dyn Store, key: &str) -> Result<(), MirrorError> {
    let revision = journal.revision(key).map_err(storage_failed)?;
    let copied = match journal.entry(key).map_err(storage_failed)? {
        Some(entry) => {
            let options = PutOptions::new().with_metadata(entry.metadata);
            kv.put(key, &entry.value, &options).await
        }
        None => kv.delete(key).await,
    };
    copied.map_err(MirrorError::Rejected)?;
    let noted = journal.mirrored(key, revision).map_err(storage_failed)?;
    lease.write(noted.into_iter().collect()).map_err(MirrorError::Lease)
}

fn storage_failed(error: StorageError) -> MirrorError {
    MirrorError::Lease(LeaseError::Storage(error))
}

/// The change that notes that KV rejected a copy, and when the copies are retried.
pub(crate) fn rejected(storage: &dyn Storage, now: SystemTime) -> Result<RowChange, StorageError> {
    let failures = backoff(storage)?.failures;
    let pause = FIRST_PAUSE.saturating_mul(1 << failures.min(16)).min(MAX_PAUSE);
    let retry_at = milliseconds(now + pause);
    Ok(rows::put(ROW, &MirrorBackoff { failures: failures.saturating_add(1), retry_at }))
}

/// The change that notes that KV took every copy that was sent. If there are more, the next alarm copies them.
pub(crate) fn succeeded() -> RowChange {
    RowChange::delete(ROW)
}

/// The earliest time for the next copies: while KV rejects them, each attempt takes a step's time.
pub(crate) fn due(storage: &dyn Storage, now: SystemTime) -> Result<SystemTime, StorageError> {
    let retry_at = at_milliseconds(backoff(storage)?.retry_at);
    // A later time was written by a clock that was ahead.
    Ok(if retry_at > now + MAX_PAUSE { now } else { retry_at })
}

/// The change that forgets when copies are retried, if that cannot be read.
pub(crate) fn without_unreadable(storage: &dyn Storage) -> Result<Option<RowChange>, StorageError> {
    rows::delete_unreadable::<MirrorBackoff>(storage, ROW)
}

fn backoff(storage: &dyn Storage) -> Result<MirrorBackoff, StorageError> {
    Ok(rows::read(storage, ROW)?.unwrap_or_default())
}
