//! Asking to forget how far a migration has got, and that it failed.

use super::adopt::adopt_once;
use super::caller::Caller;
use super::error::CoordinatorError;
use super::object::Coordinator;
use super::records::put_number;
use super::report::{HistoryEntry, InterventionKind};
use super::storage::{RowChange, history};
use crate::error::Error;
use crate::report::Status;

impl<C> Coordinator<C> {
    /// Forgets the checkpoint or the failure of a migration: the next run starts it over. What it changed so far stays.
    /// A run that is paused at it, or waits to retry it, is cancelled. Returns its status. A migration that is pending
    /// already stays so.
    ///
    /// The migration need not be registered if its marker names this service.
    ///
    /// # Errors
    /// [`CoordinatorError::InProgress`] if a run is at this migration: cancel that instead. A
    /// [`CoordinatorError::Runner`] with [`Error::AlreadyApplied`], [`Error::UnknownMigration`] or
    /// [`Error::ForeignMarker`].
    pub async fn reset(&self, id: &str, caller: &Caller) -> Result<Status, CoordinatorError> {
        adopt_once(self).await?;
        let Self { records, runner, .. } = self;
        if let Some(task) = records.task()?.filter(|task| task.migration() == Some(id)) {
            if !task.is_paused() && !task.is_retrying() || records.is_running(&task)? {
                return Err(CoordinatorError::InProgress(Box::new(task.activity())));
            }
            self.end(task, id, InterventionKind::Reset, caller).await?;
        }
        let (ledger, is_registered) = (records.ledger(records.journal()), runner.is_registered(id));
        if ledger.can_reset(id, is_registered).await? {
            self.forget(id, caller)?;
        } else if !is_registered && !self.reset_in_kv(id).await? {
            return Err(Error::UnknownMigration { id: id.to_owned() }.into());
        }
        self.status_of(id).await
    }

    /// Deletes a marker, and notes who asked for it.
    fn forget(&self, id: &str, caller: &Caller) -> Result<(), CoordinatorError> {
        let Self { records, runner, .. } = self;
        let key = records.marker_key(id);
        let mut changes = records.journal().forget(&key)?;
        let number = records.next_number()?;
        let entry = HistoryEntry::of_reset(number, id, caller.label.clone(), records.now());
        changes.push(put_number(number));
        changes.extend(history::add(&*records.storage, entry)?);
        if !records.is_stepping()? {
            // To copy that to KV.
            changes.push(RowChange::alarm(records.now()));
        }
        records.storage.write(&changes)?;
        records.journal().tell(&key, None, None);
        runner.log().info(&format!("[Migration] Reset {id}: the next run starts it over"));
        Ok(())
    }

    /// Deletes a marker that only KV has. A run without the coordinator has written it.
    async fn reset_in_kv(&self, id: &str) -> Result<bool, Error> {
        let ledger = self.runner.ledger();
        let exists = ledger.can_reset(id, false).await?;
        if exists {
            ledger.delete(id).await.map_err(Error::Ledger)?;
        }
        Ok(exists)
    }
}
