//! What an object has done: its latest runs and rollbacks.

use super::{RowChange, Storage, StorageError, rows};
use crate::coordinator::report::{HistoryEntry, RunOutcome, TaskKind};

const ROWS: &str = "history/";
const MAX_ENTRIES: usize = 100;

/// The changes that keep an entry, and delete the oldest ones beyond 100.
pub(crate) fn add(storage: &dyn Storage, entry: &HistoryEntry) -> Result<Vec<RowChange>, StorageError> {
    if !is_worth_keeping(entry) {
        return Ok(Vec::new());
    }
    let mut changes = vec![rows::put(format!("{ROWS}{:020}", entry.number), entry)];
    let rows = storage.list(ROWS)?;
    let excess = (rows.len() + 1).saturating_sub(MAX_ENTRIES);
    changes.extend(rows.into_iter().take(excess).map(|(name, _)| RowChange::delete(name)));
    Ok(changes)
}

/// The entries that are kept, the newest first.
pub(crate) fn read(storage: &dyn Storage) -> Result<Vec<HistoryEntry>, StorageError> {
    let rows = storage.list(ROWS)?.into_iter().rev();
    rows.map(|(name, bytes)| rows::decode(&name, &bytes)).collect()
}

/// Not a run that found nothing to do, and not what was refused.
fn is_worth_keeping(entry: &HistoryEntry) -> bool {
    match entry.outcome {
        RunOutcome::Finished => entry.action == TaskKind::Rollback || !entry.ran.is_empty(),
        RunOutcome::Failed => entry.failed_attempts > 0,
        _ => true,
    }
}
