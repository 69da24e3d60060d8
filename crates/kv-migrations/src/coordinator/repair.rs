//! Removes rows that cannot be read, when a caller asks for it: of a later release, or damaged.
//!
//! [`cancel`](Coordinator::cancel) removes those of the task and of the object as a whole, [`reset`](Coordinator::reset)
//! those of one migration. Nothing else does: what a later release has written may be needed again.

use super::error::CoordinatorError;
use super::object::Coordinator;
use super::storage::{RowChange, StorageError};
use crate::error::Error;
use crate::ledger::APPLIED;

impl<C> Coordinator<C> {
    /// Removes the rows that cannot be read and belong to no migration. Returns whether there were any.
    pub(super) fn remove_unreadable(&self) -> Result<bool, StorageError> {
        let mut changes = self.records.without_unreadable()?;
        if changes.is_empty() {
            return Ok(false);
        }
        self.log_removed(&changes);
        // What is left goes on.
        changes.push(RowChange::alarm(self.records.now()));
        self.records.storage.write(&changes)?;
        self.waiters.set_unreadable(None);
        Ok(true)
    }

    /// Replaces the row of a migration's marker if it cannot be read: by what KV has, if that says that the migration is
    /// applied. Otherwise the migration is pending. Returns whether the row was replaced, by this caller or by another.
    pub(super) async fn replace_unreadable_marker(&self, id: &str) -> Result<bool, CoordinatorError> {
        let (records, key) = (&self.records, self.records.marker_key(id));
        if records.journal().is_readable(&key)? {
            return Ok(false);
        }
        let kv = self.runner.ledger();
        let entry = match kv.stored(id, true).await? {
            Some(stored) if stored.is_applied() => kv.entry(id).await.map_err(Error::Ledger)?,
            _ => None,
        };
        let entry = entry.filter(|entry| entry.value == APPLIED);
        // Another caller may have replaced it meanwhile, and a run may have applied the migration since.
        if records.journal().is_readable(&key)? {
            return Ok(true);
        }
        let changes = records.journal().replace(&key, entry.as_ref());
        self.log_removed(&changes);
        records.storage.write(&changes)?;
        records.journal().tell(&key, entry.as_ref(), None);
        self.waiters.set_unreadable(None);
        Ok(true)
    }

    fn log_removed(&self, changes: &[RowChange]) {
        for change in changes {
            if let RowChange::Put { name, .. } | RowChange::Delete { name } = change {
                let line = format!(
                    "[Migration] Replaced or removed the row `{name}`, as was asked: it could not be read"
                );
                self.runner.log().error(&line);
            }
        }
    }
}
