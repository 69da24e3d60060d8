//! What an object has done: its latest runs and rollbacks.

use super::{RowChange, Storage, StorageError, rows};
use crate::coordinator::report::{HistoryEntry, RunOutcome};

const ROWS: &str = "history/";
const MAX_ENTRIES: usize = 100;
/// How many skipped entries are listed in all entries together.
const MAX_FAILED_ENTRIES: usize = 1_000;

/// The changes that keep an entry, and delete the oldest ones beyond 100.
pub(crate) fn add(storage: &dyn Storage, mut entry: HistoryEntry) -> Result<Vec<RowChange>, StorageError> {
    if !is_worth_keeping(&entry) {
        return Ok(Vec::new());
    }
    let mut left = MAX_FAILED_ENTRIES;
    limit_failed_entries(&mut entry, &mut left);
    let mut changes = vec![rows::put(format!("{ROWS}{:020}", entry.number), &entry)];
    let rows = storage.list(ROWS)?;
    let excess = (rows.len() + 1).saturating_sub(MAX_ENTRIES);
    changes.extend(rows.iter().take(excess).map(|(name, _)| RowChange::delete(name.as_str())));
    if left < MAX_FAILED_ENTRIES {
        // The earlier ones, the newest first, keep what there is room for.
        for (name, bytes) in rows.iter().skip(excess).rev() {
            let Ok(mut earlier) = rows::decode::<HistoryEntry>(name, bytes) else { continue };
            if limit_failed_entries(&mut earlier, &mut left) {
                changes.push(rows::put(name.as_str(), &earlier));
            }
        }
    }
    Ok(changes)
}

/// Cuts the lists of skipped entries to the number that is left. Whether one was cut.
fn limit_failed_entries(entry: &mut HistoryEntry, left: &mut usize) -> bool {
    let mut is_cut = false;
    for applied in &mut entry.details {
        let excess = applied.failed_entries.len().saturating_sub(*left);
        applied.failed_entries.truncate(*left);
        applied.more_failed_entries = applied.more_failed_entries.saturating_add(excess as u64);
        *left -= applied.failed_entries.len();
        is_cut |= excess > 0;
    }
    is_cut
}

/// The entries that are kept, the newest first.
pub(crate) fn read(storage: &dyn Storage) -> Result<Vec<HistoryEntry>, StorageError> {
    let rows = storage.list(ROWS)?.into_iter().rev();
    rows.map(|(name, bytes)| rows::decode(&name, &bytes)).collect()
}

/// The changes that delete the entries that cannot be read.
pub(crate) fn without_unreadable(storage: &dyn Storage) -> Result<Vec<RowChange>, StorageError> {
    rows::delete_all_unreadable::<HistoryEntry>(storage, ROWS)
}

/// The number of the latest entry that is kept; 0 if there is none.
pub(crate) fn last_number(storage: &dyn Storage) -> Result<u64, StorageError> {
    let last = storage.list(ROWS)?.pop();
    Ok(last.and_then(|(name, _)| name.strip_prefix(ROWS)?.parse().ok()).unwrap_or(0))
}

/// Not a run, or a rollback of several, that found nothing to do, and not what was refused.
fn is_worth_keeping(entry: &HistoryEntry) -> bool {
    match entry.outcome {
        RunOutcome::Finished => entry.migration.is_some() || !entry.ran.is_empty() || entry.entries.is_some(),
        RunOutcome::Failed => entry.failed_attempts > 0,
        _ => true,
    }
}
