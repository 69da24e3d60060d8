//! Rows of JSON: `[version, content]`.
//!
//! Rows outlive a release, and a run in progress spans a deploy. A field that is added later needs a default. Any other
//! change of a row's format needs a new version, and code that reads the old one.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::{RowChange, Storage, StorageError};

/// The start of the names of rows that belong to one migration.
pub(crate) const MARKER: &str = "marker/";
/// The version of the rows' format.
const VERSION: u32 = 1;

/// The content of a row, if there is one.
pub(crate) fn read<T: DeserializeOwned>(
    storage: &dyn Storage,
    name: &str,
) -> Result<Option<T>, StorageError> {
    storage.get(name)?.map(|bytes| decode(name, &bytes)).transpose()
}

pub(crate) fn decode<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, StorageError> {
    check_version(name, bytes)?;
    let (_, content): (IgnoredAny, T) = parse(name, bytes)?;
    Ok(content)
}

/// The change that deletes a row, if it cannot be read.
pub(crate) fn delete_unreadable<T: DeserializeOwned>(
    storage: &dyn Storage,
    name: &str,
) -> Result<Option<RowChange>, StorageError> {
    is_readable(read::<T>(storage, name)).map(|is_readable| (!is_readable).then(|| RowChange::delete(name)))
}

/// The changes that delete those of the rows with this prefix that cannot be read.
pub(crate) fn delete_all_unreadable<T: DeserializeOwned>(
    storage: &dyn Storage,
    prefix: &str,
) -> Result<Vec<RowChange>, StorageError> {
    let rows = storage.list(prefix)?.into_iter();
    let unreadable = rows.filter(|(name, bytes)| decode::<T>(name, bytes).is_err());
    Ok(unreadable.map(|(name, _)| RowChange::delete(name)).collect())
}

/// Whether what was read could be read. Any other failure of the storage stays one.
pub(crate) fn is_readable<T>(read: Result<T, StorageError>) -> Result<bool, StorageError> {
    match read {
        Err(error) if error.unreadable_row().is_none() => Err(error),
        read => Ok(read.is_ok()),
    }
}

/// How a row is removed that cannot be read.
fn remedy(name: &str) -> &'static str {
    if name.starts_with(MARKER) {
        "POST /migrations/{id}/reset, with the id at the end of the row's name. It counts as applied then only if its \
         marker in KV says so. If the name ends with no id, POST /migrations/{id}/cancel, with any registered id"
    } else {
        "POST /migrations/{id}/cancel, with any registered id"
    }
}

/// The change that writes a row.
pub(crate) fn put(name: impl Into<String>, content: &impl Serialize) -> RowChange {
    // Text and numbers always are JSON.
    RowChange::put(name, serde_json::to_vec(&(VERSION, content)).unwrap_or_default())
}

/// Checked first: the content of another version can have any shape.
fn check_version(name: &str, bytes: &[u8]) -> Result<(), StorageError> {
    let (version, _): (u32, IgnoredAny) = parse(name, bytes)?;
    if version == VERSION {
        return Ok(());
    }
    let message = format!("has version {version}, and this release reads version {VERSION}");
    Err(StorageError::unreadable(name, &message, remedy(name)))
}

fn parse<'a, T: Deserialize<'a>>(name: &str, bytes: &'a [u8]) -> Result<T, StorageError> {
    serde_json::from_slice(bytes).map_err(|error| {
        // Where, and not what: a row can hold a service's data.
        let message = format!("cannot be read, at line {}, column {}", error.line(), error.column());
        StorageError::unreadable(name, &message, remedy(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::MemoryStorage;

    fn decoded(bytes: &str) -> Result<Vec<u64>, String> {
        decode("ledger/1", bytes.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_row_is_read_as_it_was_written_and_has_a_version() {
        let storage = MemoryStorage::new();
        storage.write(&[put("row", &[7_u64, 8])]).expect("memory does not fail");
        assert_eq!(storage.get("row"), Ok(Some(b"[1,[7,8]]".to_vec())));
        assert_eq!(read(&storage, "row"), Ok(Some(vec![7_u64, 8])));
        assert_eq!(read::<u64>(&storage, "no row"), Ok(None));
    }

    #[test]
    fn a_row_of_another_version_is_refused_by_name_and_version_whatever_it_holds() {
        for (version, bytes) in [(0, "[0,[7]]"), (2, "[2,[7]]"), (2, r#"[2,{"new":[]}]"#)] {
            let error = decoded(bytes).expect_err("it is of another version");
            let expected = format!(
                "the row `ledger/1` of the coordinator has version {version}, and this release reads version 1"
            );
            assert!(error.contains(&expected), "{error}");
        }
    }

    #[test]
    fn a_row_that_cannot_be_read_is_refused_without_what_it_holds() {
        for bytes in
            ["", "[7]", r#"["secret"]"#, r#"[1,["secret"]]"#, "[1,[7]", r#"{"version":1,"secret":7}"#]
        {
            let error = decoded(bytes).expect_err("it is no row of numbers");
            assert!(
                error.contains("the row `ledger/1` of the coordinator cannot be read, at line"),
                "{error}"
            );
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
