//! Asking for a run or a rollback, and waiting for what comes of it.

use std::mem::replace;
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
use super::waiters::{Notify, TaskReport};
use crate::change::NEXT_REQUEST;
use crate::ledger::Marker;
use crate::report::{Event, Progress, RunReport, StatusReport};
use crate::runner::{Plan, Until};

/// How much longer than a step's budget a caller waits for it: KV may retry operations, and markers are copied after
/// it.
const GRACE_PERIOD: Duration = Duration::from_secs(30);
/// How often callers who wait look whether the alarm got lost: one for all.
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
        self.run_pending_until(&Until::End, caller).await
    }

    /// Asks for a run that goes only [so far](Until), and waits as [`run_pending`](Self::run_pending) does. What is
    /// still to be applied besides is [`beyond`](RunReport::beyond). Callers who wait share no such run.
    ///
    /// A run of a number of [entries](Until::Entries) is one step: if that is cut off, it has failed.
    ///
    /// # Errors
    /// Those of [`run_pending`](Self::run_pending), [`Error::UnknownMigration`](crate::Error::UnknownMigration) and
    /// [`Error::NotABackfill`](crate::Error::NotABackfill).
    pub async fn run_pending_until(
        &self,
        until: &Until,
        caller: &Caller,
    ) -> Result<RunReport, CoordinatorError> {
        adopt_once(self).await?;
        let until = self.resolved(until).await?;
        let number = self.begin(Work::migrate(until.clone()), caller).await?;
        match self.report(number, caller).await? {
            Some(TaskReport::Run(report)) => Ok(*report),
            _ => self.not_yet_known(&until).await,
        }
    }

    /// The same with the last migration in place of a number of steps.
    async fn resolved(&self, until: &Until) -> Result<Until, CoordinatorError> {
        if !matches!(until, Until::Migration(_) | Until::Steps(_)) {
            return Ok(until.clone());
        }
        let registered = self.runner.registered();
        let markers = self.records.load_from(&self.records.journal(), registered.ids()).await?;
        let plan = Plan::new(registered.ids(), &markers, until)?;
        Ok(registered.last_of(plan.end).map_or(Until::End, Until::Migration))
    }

    /// Asks for a run as [`run_pending`](Self::run_pending) does, and calls `observer` for each event as it
    /// happens, including the events of a run in progress that the caller waits for.
    ///
    /// # Errors
    /// Those of [`run_pending`](Self::run_pending).
    pub async fn run_pending_observed(
        &self,
        caller: &Caller,
        observer: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Result<RunReport, CoordinatorError> {
        self.run_pending_until_observed(&Until::End, caller, observer).await
    }

    /// Asks for a run as [`run_pending_until`](Self::run_pending_until) does, and calls `observer` as
    /// [`run_pending_observed`](Self::run_pending_observed) does.
    ///
    /// # Errors
    /// Those of [`run_pending_until`](Self::run_pending_until).
    pub async fn run_pending_until_observed(
        &self,
        until: &Until,
        caller: &Caller,
        observer: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Result<RunReport, CoordinatorError> {
        let _listening = self.waiters.listen(Arc::new(observer));
        self.run_pending_until(until, caller).await
    }

    /// Begins a task, as soon as the caller may, or joins one. Its number.
    ///
    /// Callers who wait share the next run that begins after they asked: they want to know that all is applied, and one run
    /// tells them all. They never share a run that was under way, which may have passed what they wait for.
    pub(super) async fn begin(&self, work: Work, caller: &Caller) -> Result<u64, CoordinatorError> {
        let joins = caller.is_queued && work.is_shared();
        let waiting = joins.then(|| self.waiters.sharing.join());
        let (begun, replies) = (self.latest_begun()?, self.waiters.replies());
        loop {
            let count = self.waiters.ends.count();
            if let Some(number) = self.begun_since(begun, replies)?.filter(|_| joins) {
                if let Some(waiting) = waiting {
                    waiting.keep();
                }
                return Ok(number);
            }
            match self.admit(work.clone(), caller).await? {
                Admission::Begun(number) => return Ok(number),
                Admission::Busy(_) if caller.is_queued => {
                    self.wait_for_change(&self.waiters.ends, count).await?;
                }
                Admission::Busy(mut activity) => {
                    self.records.set_lost_alarm()?;
                    self.waiters.check_readable()?;
                    activity.progress = self.progress(activity.migration.as_deref()).await;
                    return Err(CoordinatorError::InProgress(activity));
                }
            }
        }
    }

    /// The number of the latest task that has begun its first step, or may have.
    fn latest_begun(&self) -> Result<u64, StorageError> {
        let latest = self.records.latest_number()?;
        Ok(match self.records.task()? {
            Some(task) if !task.has_begun() && !self.records.is_stepping()? => {
                latest.min(task.number.wrapping_sub(1))
            }
            _ => latest,
        })
    }

    /// The number of a run that began after that task, if there is one that a caller can wait for: it is in progress, or
    /// has ended since there was this number of replies.
    fn begun_since(&self, number: u64, replies: u64) -> Result<Option<u64>, StorageError> {
        let is_shared = |task: &Task| task.work.is_shared() && task.number > number && !task.is_paused();
        let in_progress = self.records.task()?.filter(is_shared).map(|task| task.number);
        Ok(in_progress.or_else(|| self.waiters.ended_since(replies, number)))
    }

    /// Begins a task, unless another one is in progress. It waits for nothing but rows.
    async fn admit(&self, mut work: Work, caller: &Caller) -> Result<Admission, CoordinatorError> {
        let Self { records, waiters, .. } = self;
        let now = records.now();
        let mut changes = Vec::new();
        if let Some(task) = records.task()? {
            if task.is_paused() && self.can_be_resumed(&task) {
                return Err(CoordinatorError::Paused(Box::new(task.activity())));
            }
            if records.is_stepping()? || !task.is_paused() && !task.is_replaceable() {
                return Ok(Admission::Busy(Box::new(task.activity())));
            }
        }
        if let Work::RollbackUntil { until, .. } = &mut work {
            // Now, and not when it was asked for: a run that it waited for may have applied more. What is refused ends no task.
            let (to, _) = self.planned_rollback(until).await?;
            *until = to.map_or(Until::End, Until::Migration);
        }
        if let Some(task) = records.task()? {
            // The task waits to be retried, or for KV's quota: the caller has fixed the cause, or wants to know. Or it waits
            // to be resumed at a migration that this release does not have. The new task replaces it.
            waiters.close(task.number);
            let is_failed = task.is_retrying() && self.can_be_resumed(&task);
            let outcome = if is_failed { RunOutcome::Failed } else { RunOutcome::Unfinished };
            changes = records.end(&task, outcome, Findings::default())?;
            changes.extend(lease::revoke(&*records.storage)?);
        }
        let mut task = Task::new(records.next_number()?, work, caller, now);
        if task.work.is_shared() {
            let callers = waiters.sharing.take();
            task.add_joined(if caller.is_queued { callers.saturating_sub(1) } else { callers });
        }
        waiters.forget(task.number);
        changes.extend(asked::note(&*records.storage, self.asked_for(&task.work))?);
        changes.extend(records.begin(&task));
        records.storage.write(&changes)?;
        Ok(Admission::Begun(task.number))
    }

    /// The registered migrations that the work is to have applied.
    fn asked_for<'a>(&'a self, work: &'a Work) -> impl Iterator<Item = &'a str> {
        let last = match work {
            Work::Migrate { until: Until::Migration(id), .. } => Some(id.as_str()),
            _ => None,
        };
        let mut is_past = false;
        self.runner.registered().ids().take_while(move |id| !replace(&mut is_past, Some(*id) == last))
    }

    fn can_be_resumed(&self, task: &Task) -> bool {
        task.migration().is_some_and(|id| self.runner.registered().get(id).is_some())
    }

    /// What came of a task. `None` if it takes longer than a step may, or if another instance has ended it.
    pub(super) async fn report(
        &self,
        number: u64,
        caller: &Caller,
    ) -> Result<Option<TaskReport>, CoordinatorError> {
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
            let changes = self.waiters.changes_for(caller);
            let count = changes.count();
            if let Some(result) = self.waiters.reply_of(number, caller) {
                return result.map(Some);
            }
            if self.records.task()?.is_none_or(|task| task.number != number) {
                return Ok(None);
            }
            self.wait_for_change(changes, count).await?;
        }
    }

    /// Waits until something has changed, or ought to have: the alarm may have got lost.
    async fn wait_for_change(&self, changes: &Notify, count: u64) -> Result<(), StorageError> {
        let change = pin!(changes.notified_since(count));
        let result = select(change, self.records.clock.sleep(ALARM_CHECK)).await;
        self.waiters.check_readable()?;
        let is_check = matches!(result, Either::Right(_)) && self.waiters.begin_check(self.records.now());
        if is_check { self.records.set_lost_alarm() } else { Ok(()) }
    }

    /// The report of a run whose first step has not ended yet.
    async fn not_yet_known(&self, until: &Until) -> Result<RunReport, CoordinatorError> {
        let mut report = RunReport { retry_after: Some(NEXT_REQUEST), ..RunReport::default() };
        let StatusReport { migrations, missing, unfinished, missing_unknown } = self.status_report().await?;
        (report.missing, report.unfinished, report.missing_unknown) = (missing, unfinished, missing_unknown);
        // A few entries leave the rest to another run, however many they were.
        let mut is_beyond = matches!(until, Until::Entries(_));
        for status in migrations {
            let is_last = matches!(until, Until::Migration(last) if *last == status.id);
            report.to = report.to.or_else(|| is_last.then(|| status.id.clone()));
            let list = match status.run {
                true => &mut report.skipped,
                false if is_beyond => &mut report.beyond,
                false => &mut report.remaining,
            };
            list.push(status.id);
            is_beyond |= is_last;
        }
        Ok(report)
    }

    async fn progress(&self, id: Option<&str>) -> Option<Box<Progress>> {
        let ledger = self.records.ledger(self.records.journal());
        let markers = ledger.load(id.into_iter()).await.ok()?;
        markers.get(id?).and_then(Marker::progress).cloned().map(Box::new)
    }
}
