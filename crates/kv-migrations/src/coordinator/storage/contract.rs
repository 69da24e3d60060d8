//! The contract that the storage of a coordinator fulfils: rows of bytes, and one alarm.

use std::fmt;
use std::time::SystemTime;

use crate::text::bounded;

/// What one object keeps: strongly consistent, and used by no other object. In a Worker it is a Durable Object's
/// storage.
///
/// Its methods are synchronous, so that everything between two awaits happens wholly or not at all.
pub trait Storage: Send + Sync {
    /// The row with this name.
    ///
    /// # Errors
    /// If the storage cannot be read.
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError>;

    /// All rows whose names start with `prefix`, in the order of the bytes of their names.
    ///
    /// # Errors
    /// If the storage cannot be read.
    fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StorageError>;

    /// Makes all of these changes in this order, or none of them: a row can be deleted and then written by the same call.
    /// Nothing that is sent afterwards may leave the object before they are durable.
    ///
    /// # Errors
    /// If the storage cannot be written, or does not know one of the changes. Nothing is changed then.
    fn write(&self, changes: &[RowChange]) -> Result<(), StorageError>;
}

/// A change to what an object keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowChange {
    /// Writes a row and replaces the one that has this name.
    Put {
        /// Its name.
        name: String,
        /// Its content: up to 25 MiB.
        bytes: Vec<u8>,
    },
    /// Deletes a row. A missing row is not an error.
    Delete {
        /// Its name.
        name: String,
    },
    /// Sets the alarm and replaces the one that is set. `None` deletes it. An alarm for a time that has passed is due at
    /// once.
    Alarm(Option<SystemTime>),
}

impl RowChange {
    /// Writes a row.
    pub fn put(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self::Put { name: name.into(), bytes: bytes.into() }
    }

    /// Deletes a row.
    pub fn delete(name: impl Into<String>) -> Self {
        Self::Delete { name: name.into() }
    }

    /// Sets the alarm, or deletes it.
    pub fn alarm(at: impl Into<Option<SystemTime>>) -> Self {
        Self::Alarm(at.into())
    }
}

/// The storage of an object failed, or a row in it cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageError {
    message: String,
    /// The name of the row that cannot be read.
    row: Option<String>,
}

impl StorageError {
    /// Creates an error with the storage's own message.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: bounded(message.into()), row: None }
    }

    /// A row cannot be read. `message` says why, and `remedy` how it can be removed.
    pub(super) fn unreadable(row: &str, message: &str, remedy: &str) -> Self {
        let message = format!(
            "the row `{row}` of the coordinator {message}. It is left as it is. Deploy the release that wrote it, or a \
             later one; or remove it: {remedy}"
        );
        Self { message, row: Some(row.to_owned()) }
    }

    /// Returns the name of the row that cannot be read, if that is what failed. Asking again changes nothing.
    pub fn unreadable_row(&self) -> Option<&str> {
        self.row.as_deref()
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if self.row.is_none() { "the storage of the coordinator failed: " } else { "" };
        write!(f, "{prefix}{}", self.message)
    }
}

impl std::error::Error for StorageError {}
