//! What a task has applied so far, a row for each: a run of thousands of migrations must not write all of them again
//! with every one.

use super::{Change, Storage, StorageError, rows};
use crate::report::AppliedMigration;

const ROWS: &str = "ran/";

/// The change that adds one, where `number` were there before.
pub(super) fn add(number: u64, detail: &AppliedMigration) -> Change {
    rows::put(format!("{ROWS}{number:020}"), detail)
}

/// All of them, in order.
pub(super) fn read(storage: &dyn Storage) -> Result<Vec<AppliedMigration>, StorageError> {
    let rows = storage.list(ROWS)?.into_iter();
    rows.map(|(name, bytes)| rows::decode(&name, &bytes)).collect()
}

/// The changes that forget them.
pub(super) fn clear(storage: &dyn Storage) -> Result<Vec<Change>, StorageError> {
    Ok(storage.list(ROWS)?.into_iter().map(|(name, _)| rows::delete(name)).collect())
}
