//! Pausing, resuming and cancelling what is under way.

use std::pin::pin;
use std::sync::PoisonError;
use std::time::Duration;

use futures_util::future::select;

use super::lease::Lease;
use super::task::{Action, Task, Wanted};
use super::{Caller, Coordinator, CoordinatorError, TASK, rows};
use crate::change::Change;
use crate::report::Status;

/// How long a caller waits for a step to end that was asked to.
const PATIENCE: Duration = Duration::from_secs(10);

impl<C> Coordinator<C> {
    /// Stops a backfill, a fold or a re-key that is under way, at its next checkpoint, until it is
    /// [resumed](Self::resume): also after a deploy. Answers with its status; if that is still
    /// [`Running`](crate::State::Running), it is about to stop.
    ///
    /// # Errors
    /// [`CoordinatorError::NotRunning`] if no run is at it, [`CoordinatorError::NotResumable`] if it runs in one piece,
    /// [`CoordinatorError::UnknownMigration`].
    pub async fn pause(&self, id: &str, caller: &Caller) -> Result<Status, CoordinatorError> {
        let mut task = self.task_at(id)?;
        if !self.is_resumable(id, &task) {
            return Err(CoordinatorError::NotResumable { id: id.to_owned() });
        }
        if !task.is_paused() && !matches!(task.wanted, Some(Wanted::Cancel { .. })) {
            task.note("pause", caller, self.now());
            task.wanted = Some(Wanted::Pause { at: id.to_owned() });
            self.stop(task).await?;
        }
        self.status_of(id).await
    }

    /// Carries on with a migration that is paused, by an alarm. Answers with its status.
    ///
    /// # Errors
    /// [`CoordinatorError::NotPaused`], [`CoordinatorError::UnknownMigration`].
    pub async fn resume(&self, id: &str, caller: &Caller) -> Result<Status, CoordinatorError> {
        let not_paused = || CoordinatorError::NotPaused { id: id.to_owned() };
        let mut task = self.task_at(id).map_err(|error| match error {
            CoordinatorError::NotRunning { .. } => not_paused(),
            error => error,
        })?;
        if !task.is_paused() && !matches!(task.wanted, Some(Wanted::Pause { .. })) {
            return Err(not_paused());
        }
        let now = self.now();
        task.note("resume", caller, now);
        task.resume(now);
        let mut changes = vec![rows::put(TASK, &task)];
        if !self.is_stepping()? {
            changes.push(super::Change::Alarm(Some(now)));
        }
        self.storage.write(&changes)?;
        self.status_of(id).await
    }

    /// Ends the run, or the rollback, that is at a migration, for good. If that is a backfill, a fold or a re-key, it
    /// is pending again: what it changed stays, and the next run begins it anew. Answers with its status.
    ///
    /// # Errors
    /// [`CoordinatorError::NotRunning`] if no run is at it, [`CoordinatorError::NotResumable`] if it is running, in one
    /// piece, [`CoordinatorError::UnknownMigration`].
    pub async fn cancel(&self, id: &str, caller: &Caller) -> Result<Status, CoordinatorError> {
        let mut task = self.task_at(id)?;
        if self.is_running(&task)? && !self.is_resumable(id, &task) {
            return Err(CoordinatorError::NotResumable { id: id.to_owned() });
        }
        task.note("cancel", caller, self.now());
        task.wanted = Some(Wanted::Cancel { at: id.to_owned() });
        self.stop(task).await?;
        self.status_of(id).await
    }

    /// The task that is at this migration.
    fn task_at(&self, id: &str) -> Result<Task, CoordinatorError> {
        if self.runner.registered().get(id).is_none() {
            return Err(CoordinatorError::UnknownMigration { id: id.to_owned() });
        }
        let task = self.task()?.filter(|task| task.migration.as_deref() == Some(id));
        task.ok_or_else(|| CoordinatorError::NotRunning { id: id.to_owned() })
    }

    fn is_resumable(&self, id: &str, task: &Task) -> bool {
        let Some(migration) = self.runner.registered().get(id) else { return false };
        match task.action {
            Action::Migrate => migration.up().is_resumable(),
            Action::Rollback { .. } => migration.down().is_some_and(Change::is_resumable),
        }
    }

    /// Stops a task as it wants to be: now, or when the step has ended that is being taken.
    async fn stop(&self, mut task: Task) -> Result<(), CoordinatorError> {
        if !self.is_stepping()? {
            let lease = Lease::take(&self.storage, self.runner.clock())?;
            if let Some(turn) = task.stop() {
                self.settle_stopped(&lease, &task, turn)?;
            }
            return Ok(());
        }
        self.storage.write(&[rows::put(TASK, &task)])?;
        self.interrupt.lock().unwrap_or_else(PoisonError::into_inner).raise();
        let stopped = pin!(async {
            loop {
                let rung = self.bell.times();
                if !self.is_stepping().unwrap_or(false) {
                    break;
                }
                self.bell.next(rung).await;
            }
        });
        select(stopped, self.runner.clock().sleep(PATIENCE)).await;
        Ok(())
    }
}
