//! Asking to forget how far a migration has got, and that it failed.

use super::adopt::adopt_once;
use super::caller::Caller;
use super::error::CoordinatorError;
use super::object::Coordinator;
use super::records::put_number;
use super::report::{HistoryEntry, InterventionKind};
use super::storage::{RowChange, StorageError, history};
use super::task::Task;
use crate::error::Error;
use crate::report::Status;

impl<C> Coordinator<C> {
    /// Forgets the checkpoint or the failure of a migration: the next run starts it over. What it changed so far stays.
    /// A run that is paused at it, or waits to retry it, is cancelled. Returns its status. A migration that is pending
    /// already stays so.
    ///
    /// The marker may be one that only KV has, since a run without the coordinator has left it. The migration need not be
    /// registered if its marker names this service. A row of its marker that cannot be read is
    /// replaced: the migration counts as applied then only if its marker in KV says so.
    ///
    /// # Errors
    /// [`CoordinatorError::InProgress`] if a run is at this migration: cancel that instead. A
    /// [`CoordinatorError::Runner`] with [`Error::AlreadyApplied`], [`Error::UnknownMigration`] or
    /// [`Error::ForeignMarker`].
    pub async fn reset(&self, id: &str, caller: &Caller) -> Result<Status, CoordinatorError> {
        let Self { records, runner, .. } = self;
        let is_replaced = self.replace_unreadable_marker(id).await?;
        adopt_once(self).await?;
        self.stopped_task_at(id)?;
        if is_replaced {
            self.end_task_at(id, caller).await?;
            self.set_alarm()?;
            return self.status_of(id).await;
        }
        // What is refused ends no run.
        let is_registered = runner.is_registered(id);
        let ledger = records.ledger(records.journal());
        let is_known = ledger.can_reset(id, is_registered).await?;
        let is_in_kv = !is_known && self.is_left_in_kv(id, is_registered).await?;
        if !is_known && !is_in_kv && !is_registered {
            return Err(Error::UnknownMigration { id: id.to_owned() }.into());
        }
        self.end_task_at(id, caller).await?;
        // Again: the end of a run can have forgotten it, and another run can have applied it meanwhile.
        if ledger.can_reset(id, is_registered).await? || is_in_kv {
            self.forget(id, caller)?;
        }
        self.status_of(id).await
    }

    /// The task that is paused at a migration, or waits to retry it. An error if a step is under way there.
    fn stopped_task_at(&self, id: &str) -> Result<Option<Task>, CoordinatorError> {
        let records = &self.records;
        let Some(task) = records.task()?.filter(|task| task.migration() == Some(id)) else { return Ok(None) };
        if !task.is_paused() && !task.is_replaceable() || records.is_running(&task)? {
            return Err(CoordinatorError::InProgress(Box::new(task.activity())));
        }
        Ok(Some(task))
    }

    async fn end_task_at(&self, id: &str, caller: &Caller) -> Result<(), CoordinatorError> {
        match self.stopped_task_at(id)? {
            Some(task) => self.end(task, id, InterventionKind::Reset, caller).await.map(drop),
            None => Ok(()),
        }
    }

    /// Deletes a marker, in KV too, and notes who asked for it.
    fn forget(&self, id: &str, caller: &Caller) -> Result<(), CoordinatorError> {
        let Self { records, runner, .. } = self;
        let key = records.marker_key(id);
        let mut changes = records.journal().forget(&key)?;
        let number = records.next_number()?;
        let entry = HistoryEntry::of_reset(number, id, caller.label.clone(), records.now());
        changes.push(put_number(number));
        changes.extend(history::add(&*records.storage, entry)?);
        records.storage.write(&changes)?;
        self.set_alarm()?;
        records.journal().tell(&key, None, None);
        runner.log().info(&format!("[Migration] Reset {id}: the next run starts it over"));
        Ok(())
    }

    /// Has the change of a marker copied to KV: by the step that is under way, or by an alarm.
    fn set_alarm(&self) -> Result<(), StorageError> {
        if self.records.is_stepping()? {
            return Ok(());
        }
        self.records.storage.write(&[RowChange::alarm(self.records.now())])
    }

    /// Whether only KV has a marker to forget, which a run without the coordinator has left. The next step would adopt it.
    async fn is_left_in_kv(&self, id: &str, is_registered: bool) -> Result<bool, CoordinatorError> {
        let records = &self.records;
        match self.runner.ledger().can_reset(id, is_registered).await {
            // The object has rolled it back, and KV still shows the copy of before.
            Err(Error::AlreadyApplied { .. })
                if records.journal().marker(&records.marker_key(id))?.is_some() =>
            {
                Ok(false)
            }
            result => Ok(result?),
        }
    }
}
