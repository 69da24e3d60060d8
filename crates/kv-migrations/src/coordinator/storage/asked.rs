//! The migrations that the release registers which was last asked for a run. The steps of that run can be taken by another
//! release, after a deploy.

use super::{RowChange, Storage, StorageError, rows};

const ROW: &str = "asked";

/// The change that notes them, unless the row says so already.
pub(crate) fn note<'a>(
    storage: &dyn Storage,
    registered: impl Iterator<Item = &'a str>,
) -> Result<Option<RowChange>, StorageError> {
    let registered: Vec<&str> = registered.collect();
    let is_noted = read(storage)? == registered;
    Ok((!is_noted).then(|| rows::put(ROW, &registered)))
}

/// The change that deletes the row, if it cannot be read.
pub(crate) fn without_unreadable(storage: &dyn Storage) -> Result<Option<RowChange>, StorageError> {
    rows::delete_unreadable::<Vec<String>>(storage, ROW)
}

/// Those that are noted, in order.
pub(crate) fn read(storage: &dyn Storage) -> Result<Vec<String>, StorageError> {
    Ok(rows::read(storage, ROW)?.unwrap_or_default())
}
