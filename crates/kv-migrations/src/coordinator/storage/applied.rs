//! What the task in progress has applied so far, one row for each migration: a run of thousands of migrations must not
//! rewrite the whole list with each of them.

use super::{RowChange, Storage, StorageError, rows};
use crate::report::AppliedMigration;

const ROWS: &str = "applied/";

/// A migration, and how many keys it left out.
type Row = (AppliedMigration, u64);

/// The change that adds a migration, where `index` were there before.
pub(crate) fn add(index: u64, applied: &AppliedMigration) -> RowChange {
    rows::put(format!("{ROWS}{index:020}"), &(applied, applied.left_out))
}

/// All of them, in order.
pub(crate) fn read(storage: &dyn Storage) -> Result<Vec<AppliedMigration>, StorageError> {
    let rows = storage.list(ROWS)?.into_iter();
    let decode = |name: &str, bytes: &[u8]| {
        let (applied, left_out) = rows::decode::<Row>(name, bytes)?;
        Ok(AppliedMigration { left_out, ..applied })
    };
    rows.map(|(name, bytes)| decode(&name, &bytes)).collect()
}

/// The changes that delete those that cannot be read.
pub(crate) fn without_unreadable(storage: &dyn Storage) -> Result<Vec<RowChange>, StorageError> {
    rows::delete_all_unreadable::<Row>(storage, ROWS)
}

/// The changes that delete them.
pub(crate) fn clear(storage: &dyn Storage) -> Result<Vec<RowChange>, StorageError> {
    Ok(storage.list(ROWS)?.into_iter().map(|(name, _)| RowChange::delete(name)).collect())
}
