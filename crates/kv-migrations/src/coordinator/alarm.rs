//! What an alarm does: a step of what was asked for, and the copies of the markers that it changed.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::{Either, select};

use super::lease::{self, Lease, Lost};
use super::mirror::{self, Unmirrored, mirror};
use super::step::Step;
use super::taken::{Taken, whole};
use super::task::{Task, Turn};
use super::{Change, Coordinator, CoordinatorError, Outcome, StorageError, TASK, rows};
use crate::clock::milliseconds_between;

/// How often a step shows that it goes on, while it sends nothing.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a step may take at most, whatever its budget. Cloudflare ends an alarm after 15 minutes, and all that it
/// holds with it (<https://developers.cloudflare.com/durable-objects/platform/limits/>).
const LONGEST: Duration = Duration::from_mins(14);
const A_MOMENT: Duration = Duration::from_millis(100);

impl<C> Coordinator<C> {
    /// Takes the next step of what was asked for, if it is due: for the object's alarm to call. An alarm too many does
    /// no harm, and one that got lost is set again by whoever asks for anything.
    ///
    /// # Errors
    /// [`CoordinatorError::Storage`]: the runtime is to call it again.
    pub async fn alarm(&self) -> Result<(), CoordinatorError> {
        let now = self.now();
        if let Some(until) = lease::held_until(&*self.storage, now)? {
            return self.sleep_until(Some(until)).map_err(Into::into);
        }
        let mut task = self.task()?;
        let due = task.as_ref().and_then(Task::due);
        let is_due = due.is_some_and(|due| due <= now);
        if !is_due && self.journal(None).unmirrored()?.is_empty() {
            return self.sleep_until(due).map_err(Into::into);
        }
        let lease = Arc::new(Lease::take(&self.storage, self.runner.clock())?);
        if let Some(task) = &mut task
            && let Some(turn) = task.stop()
        {
            // The step that was to heed it was cut off.
            return self.settle_stopped(&lease, task, turn).map_err(Into::into);
        }
        let mut task = task.filter(|_| is_due);
        if let Some(task) = &mut task {
            if let Err(error) = task.begin(now) {
                Step::new(self, &lease).mark_failed(task, &error).await;
                let turn = Turn::Over(Outcome::Failed);
                return self.settle(&lease, task, turn, Err(error)).map_err(Into::into);
            }
            if lease.write(vec![rows::put(TASK, task)]).is_err() {
                return Ok(());
            }
        }
        let work = pin!(self.work(&lease, task));
        let heartbeat = pin!(self.beat(&lease));
        match select(work, heartbeat).await {
            Either::Left((result, _)) => result?,
            // Another step has taken its place, or will.
            Either::Right(((), _)) => {}
        }
        self.bell.ring();
        Ok(())
    }

    /// Sets the alarm again, which came too early. If it did so because the runtime's clock is ahead, it would come at
    /// once, again and again.
    fn sleep_until(&self, time: Option<SystemTime>) -> Result<(), StorageError> {
        let soonest = self.now() + A_MOMENT;
        self.storage.write(&[Change::Alarm(time.map(|time| time.max(soonest)))])
    }

    /// Until the lease is lost, or the step has taken too long: one that waits for what never comes must not keep the
    /// lease for ever. It was cut off then, like one whose instance ended.
    async fn beat(&self, lease: &Lease) {
        let end = self.now() + LONGEST;
        while self.now() < end {
            self.runner.clock().sleep(HEARTBEAT).await;
            if lease.renew().is_err() {
                return;
            }
        }
    }

    async fn work(&self, lease: &Arc<Lease>, task: Option<Task>) -> Result<(), StorageError> {
        let (step, start) = (Step::new(self, lease), self.now());
        let taken = match &task {
            Some(task) => Some(step.take(task).await),
            None => None,
        };
        if lease.is_lost() {
            return Ok(());
        }
        // What KV refused is not tried in every step of a run, but whoever asks for one may have mended that.
        let is_asked_for = task.is_some_and(|task| task.steps == 0);
        let noted = if is_asked_for || mirror::due(&*self.storage)? <= self.now() {
            self.copy_markers(&step, lease, taken.as_ref()).await?
        } else {
            None
        };
        let noted = lease.write(noted.into_iter().collect());
        // What was asked of it meanwhile is in the row.
        let (Some(mut task), Ok(())) = (self.task()?, noted) else { return self.rest(lease) };
        let Some(taken) = taken else {
            return match task.stop() {
                Some(turn) => self.settle_stopped(lease, &task, turn),
                None => self.rest(lease),
            };
        };
        task.duration_ms += milliseconds_between(start, self.now());
        task.operations += taken.operations;
        let turn = task.turn(taken.ended, self.now());
        match turn {
            Turn::Paused | Turn::Over(Outcome::Cancelled) => self.settle_stopped(lease, &task, turn),
            _ => {
                let registered = self.runner.registered().ids();
                let result = whole(&*self.storage, registered, taken.result, &task)?;
                self.settle(lease, &task, turn, result)
            }
        }
    }

    /// Copies markers to KV, and tells what is to be noted of that.
    async fn copy_markers(
        &self,
        step: &Step<'_, C>,
        lease: &Lease,
        taken: Option<&Taken>,
    ) -> Result<Option<Change>, StorageError> {
        match mirror(&step.journal, lease, step.kv().store(), self.copies_after(taken)).await {
            Ok(()) => Ok(Some(mirror::done())),
            Err(Unmirrored::Lost(Lost::Superseded)) => Ok(None),
            Err(Unmirrored::Lost(Lost::Storage(error))) => Err(error),
            Err(Unmirrored::Refused(error)) => {
                let line =
                    format!("[Migration] A marker could not be copied to KV, which is tried again: {error}");
                self.runner.log().error(&line);
                mirror::refused(&*self.storage, self.now()).map(Some)
            }
        }
    }

    /// How many markers are copied after a step: what is left of the budget, and a little more, since each alarm has an
    /// invocation's limits for itself. The next one copies the others.
    fn copies_after(&self, taken: Option<&Taken>) -> usize {
        let operations = self.runner.budget().operations();
        let left = operations.saturating_sub(taken.map_or(0, |taken| taken.operations));
        usize::try_from(left.max(operations / 10).max(1)).unwrap_or(usize::MAX)
    }
}
