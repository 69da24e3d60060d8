//! What an alarm does: one step of the task in progress, and the copies of the markers that it changed.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::error::CoordinatorError;
use super::object::Coordinator;
use super::records::put_task;
use super::report::RunOutcome;
use super::settle::{release, settle, settle_stop};
use super::step::{self, Step, StepResult};
use super::storage::mirror::{self, MirrorError};
use super::storage::{Lease, LeaseError, RowChange, StorageError, lease};
use super::task::Task;
use super::transition::{self, TaskEvent};
use crate::clock::milliseconds_between;
use crate::sabotage::{self, Defect};

/// How often a step renews its lease while it sends nothing.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a step may take, whatever its budget. Cloudflare ends an alarm after 15 minutes, and the instance with it
/// (<https://developers.cloudflare.com/durable-objects/platform/limits/>).
const MAX_STEP_TIME: Duration = Duration::from_mins(14);

impl<C> Coordinator<C> {
    /// Takes the next step of what was asked for, if it is due. The object's alarm calls it. An extra call does no
    /// harm, and an alarm that got lost is set again by the next request.
    ///
    /// # Errors
    /// [`CoordinatorError::Storage`]: the runtime should call it again.
    pub async fn alarm(&self) -> Result<(), CoordinatorError> {
        let error = match self.take_due_step().await {
            Err(error) if error.unreadable_row().is_some() => error,
            result => {
                self.waiters.set_unreadable(None);
                return Ok(result?);
            }
        };
        // Another try would change nothing: those who wait are told, and the next request sets the alarm again.
        self.runner.log().error(&format!("[Migration] Nothing is done: {error}"));
        self.waiters.set_unreadable(Some(error));
        let again = sabotage::is_on(Defect::RetryUnreadable).then(|| self.records.now());
        Ok(self.records.storage.write(&[RowChange::alarm(again)])?)
    }

    async fn take_due_step(&self) -> Result<(), StorageError> {
        let Self { records, waiters, .. } = self;
        let now = records.now();
        if let Some(until) = lease::held_until(&*records.storage, now)? {
            return self.sleep.until(records, Some(until));
        }
        let mut task = records.task()?;
        let due = task.as_ref().and_then(Task::due);
        let is_due = due.is_some_and(|due| due <= now);
        if !is_due && records.journal().unmirrored()?.is_empty() {
            return self.sleep.until(records, due);
        }
        let lease = Arc::new(records.take_lease()?);
        if let Some(stopping) = task.take_if(|task| task.stop.is_some()) {
            // The step that was to meet the request was cut off.
            let transition = transition::next(stopping, TaskEvent::Idle, now);
            if transition.is_stop() {
                return settle_stop(records, waiters, &lease, &transition);
            }
            task = Some(transition.task);
        }
        let mut begun = None;
        if let Some(mut task) = task.filter(|_| is_due) {
            if !task.has_begun() && task.work.is_shared() {
                task.add_joined(waiters.sharing.take());
            }
            let transition = transition::next(task, TaskEvent::StepBegan, now);
            if transition.outcome == RunOutcome::Failed {
                let task = &transition.task;
                let error = transition::cut_off(task);
                step::mark_failed(&Step::new(self, &lease, Some(task.number)), task, &error).await;
                return settle(records, waiters, &lease, &transition, Err(error));
            }
            if lease.write(vec![put_task(&transition.task)]).is_err() {
                return Ok(());
            }
            begun = Some(transition.task);
        }
        let is_mere_copy = begun.is_none();
        let work = pin!(self.work(&lease, begun));
        let heartbeat = pin!(self.beat(&lease));
        match select(work, heartbeat).await {
            Either::Left((result, _)) => result?,
            // Another step has taken its place, or will.
            Either::Right(((), _)) => {}
        }
        waiters.steps.notify();
        if is_mere_copy {
            // A task that waits to be retried could not be replaced meanwhile.
            waiters.ends.notify();
        }
        Ok(())
    }

    /// Renews the lease until it is lost or the step has taken too long. A step that waits for something that never
    /// comes must not hold the lease for ever: it counts as cut off, like one whose instance ended.
    async fn beat(&self, lease: &Lease) {
        let end = self.records.now() + MAX_STEP_TIME;
        while self.records.now() < end {
            self.records.clock.sleep(HEARTBEAT).await;
            if lease.renew().is_err() {
                return;
            }
        }
    }

    async fn work(&self, lease: &Arc<Lease>, task: Option<Task>) -> Result<(), StorageError> {
        let Self { records, waiters, runner, .. } = self;
        let step = Step::new(self, lease, task.as_ref().map(|task| task.number));
        let start = records.now();
        let result = match &task {
            Some(task) => Some(step::take(&step, task).await),
            None => None,
        };
        if lease.is_lost() {
            return Ok(());
        }
        // Copies that KV rejects are not retried in every step of a run. A caller who asks for a run may have fixed the
        // cause.
        let is_asked_for = task.is_some_and(|task| task.totals.steps == 0);
        if is_asked_for {
            records.note_copied(None);
        }
        let is_due = is_asked_for || mirror::due(&*records.storage, records.now())? <= records.now();
        let is_stopping = records.task()?.is_some_and(|task| task.stop.is_some());
        let noted = if is_due && self.may_copy(result.as_ref(), is_stopping).await {
            self.copy_markers(&step, lease, result.as_ref()).await?
        } else {
            None
        };
        let noted = lease.write(noted.into_iter().collect());
        // The row, because callers may have asked for something in the meantime.
        let (Some(mut task), Ok(())) = (records.task()?, noted) else { return release(records, lease) };
        let Some(result) = result else {
            let is_asked_to_stop = task.stop.is_some();
            let transition = transition::next(task, TaskEvent::Idle, records.now());
            return if is_asked_to_stop && transition.is_stop() {
                settle_stop(records, waiters, lease, &transition)
            } else {
                release(records, lease)
            };
        };
        task.totals.add_step(milliseconds_between(start, records.now()), result.operations);
        let transition = transition::next(task, TaskEvent::StepEnded(result.outcome), records.now());
        if transition.is_stop() {
            return settle_stop(records, waiters, lease, &transition);
        }
        let registered = runner.registered().ids();
        let result = step::total(&*records.storage, registered, result.result, &transition.task)?;
        settle(records, waiters, lease, &transition, result)
    }

    /// Whether to copy markers now. KV takes no copy of the same marker for a while: a step that is followed at once leaves the
    /// copies to a later one, and the last step waits, also the last one before a pause.
    async fn may_copy(&self, result: Option<&StepResult>, is_stopping: bool) -> bool {
        let pause = self.records.copy_pause();
        if pause.is_zero() {
            return true;
        }
        if !is_stopping && result.is_none_or(StepResult::is_followed_at_once) {
            return false;
        }
        self.records.clock.sleep(pause).await;
        true
    }

    /// Copies markers to KV. The change that notes how that went, unless the lease was lost.
    async fn copy_markers(
        &self,
        step: &Step<'_, C>,
        lease: &Lease,
        result: Option<&StepResult>,
    ) -> Result<Option<RowChange>, StorageError> {
        let kv = step.kv();
        if !step.journal.unmirrored()?.is_empty() {
            self.records.note_copied(Some(self.records.now()));
        }
        match mirror::copy_markers(&step.journal, lease, kv.store(), self.max_copies(result)).await {
            Ok(()) => Ok(Some(mirror::succeeded())),
            Err(MirrorError::Lease(LeaseError::Superseded)) => Ok(None),
            Err(MirrorError::Lease(LeaseError::Storage(error))) => Err(error),
            Err(MirrorError::Rejected(error)) => {
                let line = format!(
                    "[Migration] A marker could not be copied to KV. The copy is retried later: {error}"
                );
                self.runner.log().error(&line);
                mirror::rejected(&*self.records.storage, self.records.now()).map(Some)
            }
        }
    }

    /// How many markers are copied after a step: the rest of the budget, but at least a tenth of it, because each alarm
    /// has an invocation's limits for itself. The next alarm copies the others.
    fn max_copies(&self, result: Option<&StepResult>) -> usize {
        let operations = self.runner.budget().operations();
        let left = operations.saturating_sub(result.map_or(0, |result| result.operations));
        usize::try_from(left.max(operations / 10).max(1)).unwrap_or(usize::MAX)
    }
}
