//! The version of each entry, as the service wrote it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::plan::Plan;
use crate::table::{InitialEntry, STANDING};

/// The versions of all entries. Clones share them.
#[derive(Debug, Clone)]
pub struct Versions(Arc<Mutex<Vec<Vec<Version>>>>);

#[derive(Debug, Default, Clone)]
struct Version {
    /// The last version that the service began to write.
    begun: u64,
    /// The last version that it has written under all keys.
    written: u64,
    /// When it had written each version, from the first on.
    ends: Vec<SystemTime>,
    /// The last version that was lost.
    lost: Option<u64>,
    /// Whether nothing is known of it any more.
    is_given_up: bool,
}

impl Versions {
    /// All entries in their first versions.
    pub fn new(plan: &Plan) -> Self {
        let version = |entry: &InitialEntry| {
            let written = if entry.has_standing { STANDING } else { entry.version };
            Version { begun: entry.version, written, ends: Vec::new(), lost: None, is_given_up: false }
        };
        let tables = plan.tables.iter().map(|table| table.entries.iter().map(version).collect());
        Self(Arc::new(Mutex::new(tables.collect())))
    }

    /// Begins the next version of an entry.
    pub fn begin(&self, table: usize, entry: usize) -> u64 {
        let version = &mut self.locked()[table][entry];
        version.begun += 1;
        version.begun
    }

    /// Notes that the version begun last is written under all keys of the entry.
    pub fn end(&self, table: usize, entry: usize, now: SystemTime) {
        let version = &mut self.locked()[table][entry];
        // It may be lost before the service is told that it is written.
        if version.lost.is_none_or(|lost| lost < version.begun) {
            version.written = version.begun;
        }
        version.ends.push(now);
    }

    /// The version that was written last before this time.
    pub fn written_before(&self, table: usize, entry: usize, time: SystemTime) -> u64 {
        let version = &self.locked()[table][entry];
        version.ends.partition_point(|end| *end < time) as u64
    }

    /// Notes that what was written after the first of these versions, up to the last one, is lost, and may be.
    pub fn lose(&self, table: usize, entry: usize, kept: u64, lost: u64) {
        let version = &mut self.locked()[table][entry];
        (version.written, version.lost) = (version.written.min(kept), Some(lost));
    }

    /// Notes that the entry may be lost altogether.
    pub fn give_up(&self, table: usize, entry: usize) {
        self.locked()[table][entry].is_given_up = true;
    }

    /// Whether the entry may be lost altogether.
    pub fn is_given_up(&self, table: usize, entry: usize) -> bool {
        self.locked()[table][entry].is_given_up
    }

    /// Notes that there is this version in the end. One that was lost may have been copied by a run that still saw it.
    pub fn find(&self, table: usize, entry: usize, found: u64) {
        let version = &mut self.locked()[table][entry];
        if version.lost.is_some() {
            version.written = version.written.max(found);
        }
    }

    /// Whether nothing of an entry was written since this time, and nothing is being written.
    pub fn is_settled(&self, table: usize, entry: usize, since: SystemTime) -> bool {
        let version = &self.locked()[table][entry];
        version.ends.len() as u64 == version.begun && version.ends.last().is_none_or(|end| *end < since)
    }

    /// The version that must not be lost.
    pub fn written(&self, table: usize, entry: usize) -> u64 {
        self.locked()[table][entry].written
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Vec<Version>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
