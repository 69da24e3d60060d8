//! The storage of an object as one of its instances uses it: it may fail.

use kv_migrations::coordinator::{RowChange, Storage, StorageError};
use kv_migrations::testing::ObjectRuntime;

use crate::monitor::Monitor;
use crate::network::{CurrentRun, Namespace};
use crate::random::Random;

/// The storage.
pub(super) struct ObjectStorage {
    pub(super) runtime: ObjectRuntime,
    pub(super) random: Random,
    pub(super) monitor: Monitor,
    pub(super) namespace: Namespace,
    /// The step that the instance takes.
    pub(super) step: CurrentRun,
}

impl ObjectStorage {
    fn may_fail(&self) -> Result<(), StorageError> {
        if !self.random.chance(self.namespace.conditions().storage_failed) {
            return Ok(());
        }
        self.monitor.storage_failed(self.step.get());
        Err(StorageError::new("it was reset"))
    }
}

impl Storage for ObjectStorage {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.may_fail()?;
        self.runtime.get(name)
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
        self.may_fail()?;
        self.runtime.list(prefix)
    }

    fn write(&self, changes: &[RowChange]) -> Result<(), StorageError> {
        self.may_fail()?;
        self.runtime.write(changes)
    }
}
