//! The storage of an object in memory, for tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::{RowChange, Storage, StorageError};

/// Rows and an alarm in memory. They outlive a [`Coordinator`](crate::coordinator::Coordinator), as those of an object
/// outlive its instances. Clones share them.
///
/// # Example
/// ```
/// use kv_migrations::coordinator::{MemoryStorage, RowChange, Storage};
///
/// let storage = MemoryStorage::new();
/// storage.write(&[RowChange::put("row", "content")])?;
/// assert_eq!(storage.get("row")?.unwrap(), b"content");
/// # Ok::<(), kv_migrations::coordinator::StorageError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryStorage(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    rows: BTreeMap<String, Vec<u8>>,
    alarm: Option<SystemTime>,
}

impl MemoryStorage {
    /// Creates the storage of an object that was never used.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns when the alarm is due, if one is set.
    pub fn alarm(&self) -> Option<SystemTime> {
        self.contents().alarm
    }

    /// Removes the alarm, as the runtime does before it calls the object.
    pub fn take_alarm(&self) -> Option<SystemTime> {
        self.contents().alarm.take()
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for MemoryStorage {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.contents().rows.get(name).cloned())
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
        let contents = self.contents();
        let rows = contents.rows.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix));
        Ok(rows.map(|(name, bytes)| (name.clone(), bytes.clone())).collect())
    }

    fn write(&self, changes: &[RowChange]) -> Result<(), StorageError> {
        let mut contents = self.contents();
        for change in changes {
            match change {
                RowChange::Put { name, bytes } => {
                    contents.rows.insert(name.clone(), bytes.clone());
                }
                RowChange::Delete { name } => {
                    contents.rows.remove(name);
                }
                RowChange::Alarm(at) => contents.alarm = *at,
            }
        }
        Ok(())
    }
}
