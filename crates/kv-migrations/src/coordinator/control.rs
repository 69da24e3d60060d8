//! Asking to pause, resume or cancel the run or the rollback in progress.

use std::pin::pin;
use std::sync::PoisonError;
use std::time::Duration;

use futures_util::future::select;

use super::caller::Caller;
use super::error::CoordinatorError;
use super::object::Coordinator;
use super::records::put_task;
use super::report::InterventionKind;
use super::settle::settle_stop;
use super::storage::RowChange;
use super::task::{StopRequest, Task, Work};
use super::transition::{self, TaskEvent};
use crate::change::Change;
use crate::report::Status;

/// How long a caller waits for a step to end that was asked to stop.
const MAX_STOP_TIME: Duration = Duration::from_secs(10);

impl<C> Coordinator<C> {
    /// Stops a backfill, a fold or a re-key at its next checkpoint, until it is [resumed](Self::resume). It stays
    /// paused across deploys. Returns its status: [`Running`](crate::State::Running) if it has not stopped within ten
    /// seconds, but is about to.
    ///
    /// # Errors
    /// [`CoordinatorError::NotRunning`] if no run is at this migration, [`CoordinatorError::NotResumable`] if it runs
    /// in one piece, [`CoordinatorError::UnknownMigration`].
    pub async fn pause(&self, id: &str, caller: &Caller) -> Result<Status, CoordinatorError> {
        let mut task = self.task_at(id)?;
        if !self.is_resumable(id, &task) {
            return Err(CoordinatorError::NotResumable { id: id.to_owned() });
        }
        if !task.is_paused() && !matches!(task.stop, Some(StopRequest::Cancel { .. })) {
            task.add_intervention(InterventionKind::Pause, caller, self.records.now());
            task.stop = Some(StopRequest::Pause { at: id.to_owned() });
            self.stop(task).await?;
        }
        self.status_of(id).await
    }

    /// Resumes a migration that is paused, by an alarm. Returns its status.
    ///
    /// # Errors
    /// [`CoordinatorError::NotPaused`], [`CoordinatorError::UnknownMigration`].
    pub async fn resume(&self, id: &str, caller: &Caller) -> Result<Status, CoordinatorError> {
        let not_paused = || CoordinatorError::NotPaused { id: id.to_owned() };
        let mut task = self.task_at(id).map_err(|error| match error {
            CoordinatorError::NotRunning { .. } => not_paused(),
            error => error,
        })?;
        if !task.is_paused() && !matches!(task.stop, Some(StopRequest::Pause { .. })) {
            return Err(not_paused());
        }
        let now = self.records.now();
        task.add_intervention(InterventionKind::Resume, caller, now);
        let mut changes = vec![put_task(&transition::next(task, TaskEvent::Resumed, now).task)];
        if !self.records.is_stepping()? {
            changes.push(RowChange::alarm(now));
        }
        self.records.storage.write(&changes)?;
        self.status_of(id).await
    }

    /// Ends the run or the rollback that is at a migration, for good. A backfill, a fold or a re-key is pending then:
    /// what it changed stays, and the next run starts it over. Returns its status.
    ///
    /// It also removes the rows that cannot be read and belong to no migration: the run itself, for example.
    ///
    /// # Errors
    /// [`CoordinatorError::NotRunning`] if no run is at this migration, [`CoordinatorError::NotResumable`] if it runs
    /// in one piece at this moment, [`CoordinatorError::UnknownMigration`].
    pub async fn cancel(&self, id: &str, caller: &Caller) -> Result<Status, CoordinatorError> {
        let is_registered = self.runner.is_registered(id);
        if is_registered && self.remove_unreadable()? && self.task_at(id).is_err() {
            return self.status_of(id).await;
        }
        let task = self.task_at(id)?;
        if self.records.is_running(&task)? && !self.is_resumable(id, &task) {
            return Err(CoordinatorError::NotResumable { id: id.to_owned() });
        }
        self.end(task, id, InterventionKind::Cancel, caller).await?;
        self.status_of(id).await
    }

    /// Cancels a task that is at this migration.
    pub(super) async fn end(
        &self,
        mut task: Task,
        id: &str,
        action: InterventionKind,
        caller: &Caller,
    ) -> Result<(), CoordinatorError> {
        task.add_intervention(action, caller, self.records.now());
        task.stop = Some(StopRequest::Cancel { at: id.to_owned() });
        self.stop(task).await
    }

    /// The task that is at this migration, which another release may have registered.
    fn task_at(&self, id: &str) -> Result<Task, CoordinatorError> {
        let task = self.records.task()?.filter(|task| task.migration() == Some(id));
        let id = id.to_owned();
        task.ok_or_else(|| {
            if self.runner.is_registered(&id) {
                CoordinatorError::NotRunning { id }
            } else {
                CoordinatorError::UnknownMigration { id }
            }
        })
    }

    fn is_resumable(&self, id: &str, task: &Task) -> bool {
        let Some(migration) = self.runner.registered().get(id) else { return false };
        match task.work {
            Work::Migrate { .. } => migration.up().is_resumable(),
            Work::Rollback { .. } | Work::RollbackUntil { .. } => {
                migration.down().is_some_and(Change::is_resumable)
            }
        }
    }

    /// Meets a task's stop request: now, or when the step has ended that is under way.
    async fn stop(&self, task: Task) -> Result<(), CoordinatorError> {
        let Self { records, waiters, .. } = self;
        if !records.is_stepping()? {
            let lease = records.take_lease()?;
            let transition = transition::next(task, TaskEvent::Idle, records.now());
            return Ok(settle_stop(records, waiters, &lease, &transition)?);
        }
        records.storage.write(&[put_task(&task)])?;
        self.interrupt.lock().unwrap_or_else(PoisonError::into_inner).raise();
        let stopped = pin!(async {
            loop {
                let count = waiters.steps.count();
                if !records.is_stepping().unwrap_or(false) {
                    break;
                }
                waiters.steps.notified_since(count).await;
            }
        });
        select(stopped, records.clock.sleep(MAX_STOP_TIME)).await;
        Ok(())
    }
}
