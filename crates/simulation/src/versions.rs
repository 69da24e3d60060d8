//! In which version each entry is: what the service began to write, and what it has written to all keys.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::plan::Plan;

/// The versions of all entries. Clones are the same.
#[derive(Debug, Clone)]
pub struct Versions(Arc<Mutex<Vec<Vec<Version>>>>);

#[derive(Debug, Default, Clone)]
struct Version {
    begun: u64,
    written: u64,
}

impl Versions {
    /// All are in their first version.
    pub fn new(plan: &Plan) -> Self {
        let of_table = plan.tables.iter().map(|table| vec![Version::default(); table.entries.len()]);
        Self(Arc::new(Mutex::new(of_table.collect())))
    }

    /// The version in which an entry of a table is written next.
    pub fn begin(&self, table: usize, entry: usize) -> u64 {
        let version = &mut self.all()[table][entry];
        version.begun += 1;
        version.begun
    }

    /// Under all of its keys an entry is at least in the version that was begun last.
    pub fn end(&self, table: usize, entry: usize) {
        let version = &mut self.all()[table][entry];
        version.written = version.begun;
    }

    /// What must not be lost.
    pub fn written(&self, table: usize, entry: usize) -> u64 {
        self.all()[table][entry].written
    }

    fn all(&self) -> MutexGuard<'_, Vec<Vec<Version>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
