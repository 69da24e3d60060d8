//! The version of each entry, as the service wrote it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::plan::Plan;

/// The versions of all entries. Clones share them.
#[derive(Debug, Clone)]
pub struct Versions(Arc<Mutex<Vec<Vec<Version>>>>);

#[derive(Debug, Default, Clone)]
struct Version {
    /// The last version that the service began to write.
    begun: u64,
    /// The last version that it has written under all keys.
    written: u64,
}

impl Versions {
    /// All entries in version 0.
    pub fn new(plan: &Plan) -> Self {
        let tables = plan.tables.iter().map(|table| vec![Version::default(); table.entries.len()]);
        Self(Arc::new(Mutex::new(tables.collect())))
    }

    /// Begins the next version of an entry.
    pub fn begin(&self, table: usize, entry: usize) -> u64 {
        let version = &mut self.locked()[table][entry];
        version.begun += 1;
        version.begun
    }

    /// Notes that the version begun last is written under all keys of the entry.
    pub fn end(&self, table: usize, entry: usize) {
        let version = &mut self.locked()[table][entry];
        version.written = version.begun;
    }

    /// The version that must not be lost.
    pub fn written(&self, table: usize, entry: usize) -> u64 {
        self.locked()[table][entry].written
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Vec<Version>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
