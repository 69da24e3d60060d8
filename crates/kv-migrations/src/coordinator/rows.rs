//! Rows that hold JSON. They outlive a release: a field that is added later needs a default, so that a run under way goes
//! on.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Change, Storage, StorageError};

/// What a row holds.
pub(super) fn read<T: DeserializeOwned>(
    storage: &dyn Storage,
    name: &str,
) -> Result<Option<T>, StorageError> {
    storage.get(name)?.map(|bytes| decode(name, &bytes)).transpose()
}

pub(super) fn decode<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, StorageError> {
    serde_json::from_slice(bytes).map_err(|error| {
        // Where, and not what: it can hold a service's data.
        let (line, column) = (error.line(), error.column());
        StorageError::new(format!("the row `{name}` cannot be read, at line {line}, column {column}"))
    })
}

/// A change that makes a row hold this.
pub(super) fn put(name: impl Into<String>, content: &impl Serialize) -> Change {
    // Text and numbers always are JSON.
    Change::Put { name: name.into(), bytes: serde_json::to_vec(content).unwrap_or_default() }
}

pub(super) fn delete(name: impl Into<String>) -> Change {
    Change::Delete { name: name.into() }
}
