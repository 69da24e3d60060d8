//! The contract that the storage of a coordinator fulfils: rows of bytes, and one alarm.

use std::fmt;
use std::time::SystemTime;

/// What one object keeps: strongly consistent, and its own alone. In a Worker it is a Durable Object's storage.
///
/// Its methods wait for nothing, so that what is done between two awaits is done wholly or not at all.
pub trait Storage: Send + Sync {
    /// The row with this name.
    ///
    /// # Errors
    /// If the storage cannot be read.
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError>;

    /// All rows whose names begin so, in the order of the bytes of their names.
    ///
    /// # Errors
    /// If the storage cannot be read.
    fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StorageError>;

    /// Makes all of these changes, or none. Nothing that is sent afterwards may leave the object before they are
    /// durable.
    ///
    /// # Errors
    /// If the storage cannot be written: then nothing is changed.
    fn write(&self, changes: &[Change]) -> Result<(), StorageError>;
}

/// A change to what an object keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Writes a row, in place of the one that has this name.
    Put {
        /// Its name.
        name: String,
        /// Its content: up to 25 MiB.
        bytes: Vec<u8>,
    },
    /// Deletes a row; that there is none is no error.
    Delete {
        /// Its name.
        name: String,
    },
    /// Sets the alarm, in place of the one that is set; or sets none.
    Alarm(Option<SystemTime>),
}

/// The storage of an object failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageError(String);

impl StorageError {
    /// In the storage's own words.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the storage of the coordinator failed: {}", self.0)
    }
}

impl std::error::Error for StorageError {}
