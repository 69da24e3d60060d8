//! Asking for a run or a rollback, and waiting for what comes of it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::adopt::adopt_once;
use super::caller::Caller;
use super::error::CoordinatorError;
use super::object::Coordinator;
use super::report::{Activity, RunOutcome};
use super::storage::{StorageError, asked, lease};
use super::task::{Findings, Task, Work};
use super::waiters::{Listener, TaskReport};
use crate::change::NEXT_REQUEST;
use crate::ledger::Marker;
use crate::report::{Event, Progress, RollbackReport, RunReport, StatusReport};

/// How much longer than a step's budget a caller waits for it: KV may retry operations, and markers are copied after
/// it.
const GRACE_PERIOD: Duration = Duration::from_secs(30);
/// How often a caller who waits looks whether the alarm got lost.
const ALARM_CHECK: Duration = Duration::from_secs(10);

/// Whether a task was begun.
enum Admission {
    /// It has this number.
    Begun(u64),
    /// Another one is in progress.
    Busy(Box<Activity>),
}

impl<C> Coordinator<C> {
    /// Asks for a run of what is not applied, and waits for its first step, or [for its end](Caller::until_finished).
    ///
    /// If the report is not [finished](RunReport::is_finished), alarms continue the run: nothing has to be asked for
    /// again.
    ///
    /// - A first step that fails is not retried, because its caller is told. If it was cut off before, and its caller
    ///   with it, it is retried like any other step.
    /// - Any other step that fails is retried up to four times, after growing pauses. Then the run fails, and the next
    ///   run resumes where it failed.
    /// - A step that is cut off five times in a row fails the run too.
    ///
    /// # Errors
    /// [`CoordinatorError::Runner`] if the run failed, [`CoordinatorError::InProgress`] and
    /// [`CoordinatorError::Paused`] if there is another run, [`CoordinatorError::Cancelled`] if the run was cancelled.
    pub async fn run_pending(&self, caller: &Caller) -> Result<RunReport, CoordinatorError> {
        adopt_once(self).await?;
        let number = self.begin(Work::migrate(), caller).await?;
        match self.report(number, caller).await? {
            Some(TaskReport::Run(report)) => Ok(report),
            _ => self.not_yet_known().await,
        }
    }

    /// Like [`run_pending`](Self::run_pending), and calls `observer` for each event as it happens, including the events
    /// of a run in progress that the caller waits for.
    ///
    /// # Errors
    /// Those of [`run_pending`](Self::run_pending).
    pub async fn run_pending_observed(
        &self,
        caller: &Caller,
        observer: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Result<RunReport, CoordinatorError> {
        let listener: Arc<Listener> = Arc::new(observer);
        self.waiters.listen(&listener);
        self.run_pending(caller).await
    }

    /// Asks for a rollback, and waits as [`run_pending`](Self::run_pending) does.
    ///
    /// # Errors
    /// Those of [`run_pending`](Self::run_pending). If the migration is unknown, not applied or irreversible, the error
    /// is a [`CoordinatorError::Runner`].
    pub async fn rollback(&self, id: &str, caller: &Caller) -> Result<RollbackReport, CoordinatorError> {
        adopt_once(self).await?;
        let number = self.begin(Work::rollback(id), caller).await?;
        match self.report(number, caller).await? {
            Some(TaskReport::Rollback(report)) => Ok(report),
            _ => Ok(RollbackReport { retry_after: Some(NEXT_REQUEST), ..RollbackReport::default() }),
        }
    }

    /// Begins a task, as soon as the caller may. Its number.
    async fn begin(&self, work: Work, caller: &Caller) -> Result<u64, CoordinatorError> {
        loop {
            let count = self.waiters.changes.count();
            match self.admit(work.clone(), caller)? {
                Admission::Begun(number) => return Ok(number),
                Admission::Busy(_) if caller.is_queued => self.wait_for_change(count).await?,
                Admission::Busy(mut activity) => {
                    self.waiters.check_readable()?;
                    activity.progress = self.progress(activity.migration.as_deref()).await;
                    return Err(CoordinatorError::InProgress(activity));
                }
            }
        }
    }

    fn admit(&self, work: Work, caller: &Caller) -> Result<Admission, CoordinatorError> {
        let Self { records, waiters, .. } = self;
        let now = records.now();
        let mut changes = Vec::new();
        if let Some(task) = records.task()? {
            if task.is_paused() && self.can_be_resumed(&task) {
                return Err(CoordinatorError::Paused(Box::new(task.activity())));
            }
            if records.is_stepping()? || !task.is_paused() && !task.is_retrying() {
                records.set_lost_alarm()?;
                return Ok(Admission::Busy(Box::new(task.activity())));
            }
            // The task waits to be retried: the caller has fixed the cause, or wants to know. Or it waits to be resumed
            // at a migration that this release does not have. The new task replaces it.
            waiters.close(task.number);
            let outcome = if task.is_paused() { RunOutcome::Unfinished } else { RunOutcome::Failed };
            changes = records.end(&task, outcome, Findings::default())?;
            changes.extend(lease::revoke(&*records.storage)?);
        }
        let task = Task::new(records.next_number()?, work, caller, now);
        waiters.forget(task.number);
        changes.extend(asked::note(&*records.storage, self.runner.registered().ids())?);
        changes.extend(records.begin(&task));
        records.storage.write(&changes)?;
        waiters.changes.notify();
        Ok(Admission::Begun(task.number))
    }

    fn can_be_resumed(&self, task: &Task) -> bool {
        task.migration().is_some_and(|id| self.runner.registered().get(id).is_some())
    }

    /// What came of a task. `None` if it takes longer than a step may, or if another instance has ended it.
    async fn report(&self, number: u64, caller: &Caller) -> Result<Option<TaskReport>, CoordinatorError> {
        let reply = pin!(self.wait_for_reply(number, caller));
        if caller.waits_for_end {
            return reply.await;
        }
        let time = self.runner.budget().time() + GRACE_PERIOD;
        match select(reply, self.records.clock.sleep(time)).await {
            Either::Left((report, _)) => report,
            Either::Right(_) => Ok(None),
        }
    }

    async fn wait_for_reply(
        &self,
        number: u64,
        caller: &Caller,
    ) -> Result<Option<TaskReport>, CoordinatorError> {
        loop {
            let count = self.waiters.changes.count();
            if let Some(result) = self.waiters.take_reply(number, caller) {
                return result.map(Some);
            }
            if self.records.task()?.is_none_or(|task| task.number != number) {
                return Ok(None);
            }
            self.wait_for_change(count).await?;
        }
    }

    /// Waits until something has changed, or ought to have: the alarm may have got lost.
    async fn wait_for_change(&self, count: u64) -> Result<(), StorageError> {
        let change = pin!(self.waiters.changes.notified_since(count));
        select(change, self.records.clock.sleep(ALARM_CHECK)).await;
        self.waiters.check_readable()?;
        self.records.set_lost_alarm()
    }

    /// The report of a run whose first step has not ended yet.
    async fn not_yet_known(&self) -> Result<RunReport, CoordinatorError> {
        let mut report = RunReport { retry_after: Some(NEXT_REQUEST), ..RunReport::default() };
        let StatusReport { migrations, missing, unfinished, missing_unknown } = self.status_report().await?;
        (report.missing, report.unfinished, report.missing_unknown) = (missing, unfinished, missing_unknown);
        for status in migrations {
            if status.run { report.skipped.push(status.id) } else { report.remaining.push(status.id) }
        }
        Ok(report)
    }

    async fn progress(&self, id: Option<&str>) -> Option<Box<Progress>> {
        let ledger = self.records.ledger(self.records.journal());
        let markers = ledger.load(id.into_iter()).await.ok()?;
        markers.get(id?).and_then(Marker::progress).cloned().map(Box::new)
    }
}
