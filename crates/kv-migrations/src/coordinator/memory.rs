//! The storage of an object in memory, for tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::{Change, Storage, StorageError};

/// Rows and an alarm in memory: what stays when an object is made anew. Clones share it.
///
/// # Example
/// ```
/// use kv_migrations::coordinator::{Change, MemoryStorage, Storage};
///
/// let storage = MemoryStorage::new();
/// storage.write(&[Change::Put { name: "row".to_owned(), bytes: b"content".to_vec() }])?;
/// assert_eq!(storage.get("row")?.unwrap(), b"content");
/// # Ok::<(), kv_migrations::coordinator::StorageError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryStorage(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    rows: BTreeMap<String, Vec<u8>>,
    alarm: Option<SystemTime>,
}

impl MemoryStorage {
    /// Of an object that was never used.
    pub fn new() -> Self {
        Self::default()
    }

    /// When the alarm is due, if one is set.
    pub fn alarm(&self) -> Option<SystemTime> {
        self.kept().alarm
    }

    /// Takes the alarm off, as the runtime does when it goes off.
    pub fn take_alarm(&self) -> Option<SystemTime> {
        self.kept().alarm.take()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for MemoryStorage {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.kept().rows.get(name).cloned())
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
        let kept = self.kept();
        let rows = kept.rows.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix));
        Ok(rows.map(|(name, bytes)| (name.clone(), bytes.clone())).collect())
    }

    fn write(&self, changes: &[Change]) -> Result<(), StorageError> {
        let mut kept = self.kept();
        for change in changes {
            match change {
                Change::Put { name, bytes } => {
                    kept.rows.insert(name.clone(), bytes.clone());
                }
                Change::Delete { name } => {
                    kept.rows.remove(name);
                }
                Change::Alarm(at) => kept.alarm = *at,
            }
        }
        Ok(())
    }
}
