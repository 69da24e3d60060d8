//! Asking for a run or a rollback, and waiting for what comes of it.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};

use super::task::{Action, Task};
use super::{
    Activity, Caller, Change, Coordinator, CoordinatorError, Listener, Outcome, StorageError, TASK, lease,
    rows,
};
use crate::change::NEXT_REQUEST;
use crate::ledger::Marker;
use crate::report::Event;
use crate::report::{RollbackReport, RunReport};

/// The row of the number that the last task had.
const NUMBER: &str = "number";
/// The answers that nobody fetched are forgotten when there are more.
const MOST_ANSWERS: usize = 16;
/// How much longer than the time of a step a caller waits for it: it may be tried again by KV, and its markers copied.
const GRACE: Duration = Duration::from_secs(30);
/// How long who waits relies on the alarm.
const LATE: Duration = Duration::from_secs(10);

/// What came of a task, for the caller who waits for it.
pub(super) struct Answer {
    pub(super) number: u64,
    /// Or only of a step of it.
    pub(super) is_over: bool,
    pub(super) result: Result<Report, CoordinatorError>,
}

pub(super) enum Report {
    Run(RunReport),
    Rollback(RollbackReport),
}

/// Whether a task was begun.
enum Enlisted {
    Begun(u64),
    Busy(Box<Activity>),
}

impl<C> Coordinator<C> {
    /// Asks for a run of what is not applied, and waits for its first step; a caller who
    /// [waits for it](Caller::until_finished), for its end.
    ///
    /// If the report is not [finished](RunReport::is_finished), alarms carry on with what is remaining: nothing has to
    /// be asked for again. A step of theirs that fails is tried again, with growing pauses, up to four times; then the
    /// run is over, and the next one carries on where it failed. A first step that fails is not tried again, since its
    /// caller is told; unless it was cut off before, and its caller with it. A step that is cut off five times in a row
    /// is given up too.
    ///
    /// # Errors
    /// [`CoordinatorError::Runner`] if it failed; [`CoordinatorError::InProgress`] and [`CoordinatorError::Paused`] if
    /// another run goes on; [`CoordinatorError::Cancelled`] if it was cancelled.
    pub async fn run_pending(&self, caller: &Caller) -> Result<RunReport, CoordinatorError> {
        self.adopt_once().await?;
        let number = self.begin(Action::Migrate, caller).await?;
        match self.outcome(number, caller).await? {
            Some(Report::Run(report)) => Ok(report),
            _ => self.accepted().await,
        }
    }

    /// The same, telling `observer` what happens as it happens: also of a run in progress that it waits for.
    ///
    /// # Errors
    /// As of [`run_pending`](Self::run_pending).
    pub async fn run_pending_observed(
        &self,
        caller: &Caller,
        observer: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Result<RunReport, CoordinatorError> {
        let observer: Arc<Listener> = Arc::new(observer);
        locked(&self.observers).push(Arc::downgrade(&observer));
        self.run_pending(caller).await
    }

    /// Asks for a rollback, and waits as [`run_pending`](Self::run_pending) does.
    ///
    /// # Errors
    /// As of [`run_pending`](Self::run_pending); that it is unknown, not run or irreversible is one of
    /// [`CoordinatorError::Runner`].
    pub async fn rollback(&self, id: &str, caller: &Caller) -> Result<RollbackReport, CoordinatorError> {
        self.adopt_once().await?;
        let number = self.begin(Action::Rollback { id: id.to_owned() }, caller).await?;
        match self.outcome(number, caller).await? {
            Some(Report::Rollback(report)) => Ok(report),
            _ => Ok(RollbackReport { retry_after: Some(NEXT_REQUEST), ..RollbackReport::default() }),
        }
    }

    /// The number of the task, once it is begun.
    async fn begin(&self, action: Action, caller: &Caller) -> Result<u64, CoordinatorError> {
        loop {
            let rung = self.bell.times();
            match self.enlist(action.clone(), caller)? {
                Enlisted::Begun(number) => return Ok(number),
                Enlisted::Busy(_) if caller.waits => self.rings_or_is_late(rung).await?,
                Enlisted::Busy(mut activity) => {
                    activity.progress = self.progress(activity.migration.as_deref()).await;
                    return Err(CoordinatorError::InProgress(activity));
                }
            }
        }
    }

    fn enlist(&self, action: Action, caller: &Caller) -> Result<Enlisted, CoordinatorError> {
        let now = self.now();
        let mut changes = Vec::new();
        if let Some(task) = self.task()? {
            if task.is_paused() && self.can_be_resumed(&task) {
                return Err(CoordinatorError::Paused(Box::new(task.activity())));
            }
            if self.is_stepping()? || !task.is_paused() && !task.is_retrying() {
                self.wake_if_due()?;
                return Ok(Enlisted::Busy(Box::new(task.activity())));
            }
            // It failed, and waits to be tried again: whoever asks now has mended it, or wants to know. Or it waits to be
            // resumed at a migration that this release does not have.
            changes = self.give_up(&task)?;
            changes.extend(lease::revoke(&*self.storage)?);
        }
        let number = rows::read(&*self.storage, NUMBER)?.unwrap_or(0) + 1;
        changes.push(rows::put(NUMBER, &number));
        changes.push(rows::put(TASK, &Task::new(number, action, caller, now)));
        changes.push(Change::Alarm(Some(now)));
        self.storage.write(&changes)?;
        self.bell.ring();
        Ok(Enlisted::Begun(number))
    }

    fn can_be_resumed(&self, task: &Task) -> bool {
        task.migration.as_deref().is_some_and(|id| self.runner.registered().get(id).is_some())
    }

    /// Ends a task that failed, for the caller who waited for it too.
    fn give_up(&self, task: &Task) -> Result<Vec<Change>, StorageError> {
        for answer in locked(&self.answers).iter_mut().filter(|answer| answer.number == task.number) {
            answer.is_over = true;
        }
        self.remember(task, Outcome::Failed)
    }

    /// What came of a task; nothing if it takes longer than a step may, or if another instance has ended it.
    async fn outcome(&self, number: u64, caller: &Caller) -> Result<Option<Report>, CoordinatorError> {
        let ended = pin!(self.ended(number, caller));
        if caller.stays {
            return ended.await;
        }
        let time = self.runner.budget().time() + GRACE;
        match select(ended, self.runner.clock().sleep(time)).await {
            Either::Left((ended, _)) => ended,
            Either::Right(_) => Ok(None),
        }
    }

    async fn ended(&self, number: u64, caller: &Caller) -> Result<Option<Report>, CoordinatorError> {
        loop {
            let rung = self.bell.times();
            if let Some(answer) = self.take_answer(number, caller) {
                return answer.map(Some);
            }
            if self.task()?.is_none_or(|task| task.number != number) {
                return Ok(None);
            }
            self.rings_or_is_late(rung).await?;
        }
    }

    /// Until the bell rings, or ought to have: the alarm that it waits for may have got lost.
    async fn rings_or_is_late(&self, rung: u64) -> Result<(), StorageError> {
        select(pin!(self.bell.next(rung)), self.runner.clock().sleep(LATE)).await;
        self.wake_if_due()
    }

    fn take_answer(&self, number: u64, caller: &Caller) -> Option<Result<Report, CoordinatorError>> {
        let mut answers = locked(&self.answers);
        let is_wanted = |answer: &Answer| answer.number == number && (answer.is_over || !caller.stays);
        let index = answers.iter().position(is_wanted)?;
        Some(answers.remove(index).result)
    }

    /// Keeps what came of a step, in place of what came of the one before.
    pub(super) fn answer(&self, answer: Answer) {
        let mut answers = locked(&self.answers);
        answers.retain(|other| other.number != answer.number);
        answers.push(answer);
        let excess = answers.len().saturating_sub(MOST_ANSWERS);
        answers.drain(..excess);
    }

    /// The report of a run whose first step has not ended yet.
    async fn accepted(&self) -> Result<RunReport, CoordinatorError> {
        let mut report = RunReport { retry_after: Some(NEXT_REQUEST), ..RunReport::default() };
        for status in self.status().await? {
            if status.run { report.skipped.push(status.id) } else { report.remaining.push(status.id) }
        }
        Ok(report)
    }

    async fn progress(&self, id: Option<&str>) -> Option<Box<crate::report::Progress>> {
        let ledger = self.ledger(None).load(id.into_iter()).await.ok()?;
        ledger.get(id?).and_then(Marker::progress).cloned().map(Box::new)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
