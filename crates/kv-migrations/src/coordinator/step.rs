//! One step: what an alarm does.

use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::{Either, select};

use super::fenced::Fenced;
use super::journal::Journal;
use super::lease::{self, Lease, Lost};
use super::mirror::{Unmirrored, mirror};
use super::request::{Answer, Report};
use super::task::{Action, Ended, Task, Turn};
use super::{
    Change, Coordinator, CoordinatorError, HistoryEntry, Outcome, StorageError, TASK, adopt, history, rows,
};
use crate::budget::Interrupt;
use crate::change::NEXT_REQUEST;
use crate::clock::{iso8601, milliseconds_between};
use crate::error::Error;
use crate::event::Event;
use crate::kv::{Kv, Store, Terms};
use crate::ledger::Ledger;
use crate::report::{RollbackReport, RunReport};
use crate::sabotage::{self, Defect};

/// How often a step shows that it goes on, while it sends nothing.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long to wait before copying is tried again: twice as long each time, up to an hour.
const MIRROR_AGAIN: Duration = Duration::from_secs(30);
const MIRROR_AGAIN_AT_MOST: Duration = Duration::from_hours(1);
/// The row of how often copying has failed since it last succeeded.
const MIRROR_FAILURES: &str = "mirror";

/// How a step ended, and what is answered.
struct Step {
    ended: Ended,
    result: Result<Report, CoordinatorError>,
    operations: u64,
}

impl<C> Coordinator<C> {
    /// Takes the next step of what was asked for, if it is due: for the object's alarm to call. An alarm too many does
    /// no harm, and one that got lost is set again by whoever asks for anything.
    ///
    /// # Errors
    /// [`CoordinatorError::Storage`]: the runtime is to call it again.
    pub async fn alarm(&self) -> Result<(), CoordinatorError> {
        let now = self.now();
        if let Some(until) = lease::held_until(&*self.storage, now)? {
            self.storage.write(&[Change::Alarm(Some(until))])?;
            return Ok(());
        }
        let mut task = self.task()?;
        let is_due = task.as_ref().and_then(Task::due).is_some_and(|due| due <= now);
        let journal = Journal::new(self.storage.clone(), None);
        if !is_due && journal.unmirrored()?.is_empty() {
            let due = task.and_then(|task| task.due());
            self.storage.write(&[Change::Alarm(due)])?;
            return Ok(());
        }
        let lease = Arc::new(Lease::take(&self.storage, self.runner.clock())?);
        if let Some(task) = &mut task
            && let Some(turn) = task.stop()
        {
            // The step that was to heed it was cut off.
            return self.settle_stopped(&lease, task, turn).map_err(Into::into);
        }
        let work = pin!(self.work(&lease, task.filter(|_| is_due)));
        let heartbeat = pin!(self.beat(&lease));
        match select(work, heartbeat).await {
            Either::Left((result, _)) => result?,
            // Another step has taken its place, and goes on.
            Either::Right(((), _)) => {}
        }
        self.bell.ring();
        Ok(())
    }

    /// Until the lease is lost.
    async fn beat(&self, lease: &Lease) {
        loop {
            self.runner.clock().sleep(HEARTBEAT).await;
            if lease.renew().is_err() {
                return;
            }
        }
    }

    async fn work(&self, lease: &Arc<Lease>, task: Option<Task>) -> Result<(), StorageError> {
        let (store, journal) = self.fenced(lease);
        let start = self.now();
        let step = match &task {
            Some(task) => Some(self.take_step(task, lease, &store, &journal).await),
            None => None,
        };
        if lease.is_lost() {
            return Ok(());
        }
        let kv = Kv::on_terms(store, Terms::new(self.runner.clock().clone()));
        let failures = match mirror(&journal, lease, kv.store()).await {
            Ok(()) => 0,
            Err(Unmirrored::Lost(Lost::Superseded)) => return Ok(()),
            Err(Unmirrored::Lost(Lost::Storage(error))) => return Err(error),
            Err(Unmirrored::Refused(error)) => {
                let line =
                    format!("[Migration] A marker could not be copied to KV, which is tried again: {error}");
                self.runner.log().error(&line);
                self.mirror_failures()?.saturating_add(1)
            }
        };
        let noted = lease.write(vec![rows::put(MIRROR_FAILURES, &failures)]);
        // What was asked of it meanwhile is in the row.
        let (Some(step), Some(mut task), Ok(())) = (step, self.task()?, noted) else {
            return self.rest(lease);
        };
        task.duration_ms += milliseconds_between(start, self.now());
        task.operations += step.operations;
        if let Ok(Report::Run(report)) = &step.result {
            task.out_of_order.extend(report.out_of_order.iter().cloned());
        }
        let turn = task.turn(step.ended, self.now());
        match turn {
            Turn::Paused | Turn::Over(Outcome::Cancelled) => self.settle_stopped(lease, &task, turn),
            _ => self.settle(lease, &task, turn, whole(step.result, &task)),
        }
    }

    fn fenced(&self, lease: &Arc<Lease>) -> (Arc<dyn Store>, Journal) {
        let store = Fenced { lease: lease.clone(), store: self.runner.store().clone() };
        (Arc::new(store), Journal::new(self.storage.clone(), Some(lease.clone())))
    }

    async fn take_step(
        &self,
        task: &Task,
        lease: &Arc<Lease>,
        store: &Arc<dyn Store>,
        journal: &Journal,
    ) -> Step {
        let failed = |error: CoordinatorError| Step {
            ended: Ended::Failed { error: error.to_string(), migration: task.migration.clone() },
            result: Err(error),
            operations: 0,
        };
        if task.steps == 0
            && let Err(error) = self.adopt_anew(lease, store, journal).await
        {
            return failed(error);
        }
        let context = match (self.context)() {
            Ok(context) => context,
            Err(error) => return failed(CoordinatorError::Context(error.to_string())),
        };
        let interrupt = Interrupt::default();
        self.interrupt.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&interrupt);
        let markers: Option<Arc<dyn Store>> =
            if sabotage::is_on(Defect::StaleLedger) { None } else { Some(Arc::new(journal.clone())) };
        let runner = self.runner.for_step(store.clone(), markers, interrupt);
        match &task.action {
            Action::Migrate => {
                let observer = |event: Event<'_>| self.observe(lease, &event);
                Step::of_run(runner.run_pending_observed(&context, observer).await)
            }
            Action::Rollback { id } => {
                let was_begun = task.is_begun;
                match self.note_begun(id, lease, journal) {
                    Ok(()) => Step::of_rollback(id, runner.rollback(id, &context).await, was_begun),
                    Err(error) => failed(error.into()),
                }
            }
        }
    }

    /// What was applied without the object is not applied again.
    async fn adopt_anew(
        &self,
        lease: &Arc<Lease>,
        store: &Arc<dyn Store>,
        journal: &Journal,
    ) -> Result<(), CoordinatorError> {
        let kv = Kv::on_terms(store.clone(), Terms::new(self.runner.clock().clone()));
        let registered = self.runner.registered();
        let ledger = Ledger::new(kv, registered.prefix());
        let changes = adopt::adopt(&ledger, registered.ids(), journal).await?;
        match lease.write(changes) {
            // That it was superseded ends the step.
            Ok(()) | Err(Lost::Superseded) => Ok(()),
            Err(Lost::Storage(error)) => Err(error.into()),
        }
    }

    /// Notes that there is something to roll back: if a step is cut off when that is done, the next one must not take it
    /// for a mistake that nothing is there any more.
    fn note_begun(&self, id: &str, lease: &Lease, journal: &Journal) -> Result<(), StorageError> {
        let is_there = journal.kept(&self.ledger().key(id))?.is_some_and(|kept| kept.exists);
        if let (true, Some(task)) = (is_there, self.task()?) {
            lease.write(vec![rows::put(TASK, &Task { is_begun: true, ..task })]).ok();
        }
        Ok(())
    }

    /// Notes in the task what the step does, so that it is known even if the step is cut off.
    fn observe(&self, lease: &Lease, event: &Event<'_>) {
        if let Ok(Some(mut task)) = self.task() {
            let has_changed = match event {
                Event::Started { id, .. } => {
                    task.migration = Some((*id).to_owned());
                    true
                }
                Event::Applied(detail) => {
                    task.details.push((*detail).clone());
                    true
                }
                _ => false,
            };
            if has_changed {
                // Whether it was written is seen by the next operation.
                lease.write(vec![rows::put(TASK, &task)]).ok();
            }
        }
        self.tell(event);
    }

    /// The same as [`settle`](Self::settle) for a task that was asked to stop.
    pub(super) fn settle_stopped(&self, lease: &Lease, task: &Task, turn: Turn) -> Result<(), StorageError> {
        let why = match turn {
            Turn::Over(_) => CoordinatorError::Cancelled { id: task.migration.clone() },
            _ => CoordinatorError::Paused(Box::new(task.activity())),
        };
        self.settle(lease, task, turn, Err(why))
    }

    /// Writes down how a task goes on, gives back the lease, and answers those who wait.
    fn settle(
        &self,
        lease: &Lease,
        task: &Task,
        turn: Turn,
        result: Result<Report, CoordinatorError>,
    ) -> Result<(), StorageError> {
        let mut changes = match turn {
            Turn::Alarm(_) | Turn::Paused => vec![rows::put(TASK, task)],
            Turn::Over(outcome) => {
                let entry = HistoryEntry::new(task, outcome, Some(iso8601(self.now())));
                let mut changes = history::keep(&entry, &*self.storage)?;
                changes.push(rows::delete(TASK));
                changes
            }
        };
        let due = match turn {
            Turn::Alarm(at) => Some(at),
            Turn::Paused | Turn::Over(_) => None,
        };
        let mut wake = self.wake_at(due)?;
        if turn == Turn::Over(Outcome::Cancelled) {
            let forgotten = self.forget_checkpoint(task)?;
            if !forgotten.is_empty() {
                // For KV to hear of it.
                wake = Some(self.now());
            }
            changes.extend(forgotten);
        }
        changes.push(Change::Alarm(wake));
        match lease.release(changes) {
            Ok(()) => {}
            Err(Lost::Superseded) => return Ok(()),
            Err(Lost::Storage(error)) => return Err(error),
        }
        let is_over = !matches!(turn, Turn::Alarm(_));
        self.answer(Answer { number: task.number, is_over, result });
        self.bell.ring();
        Ok(())
    }

    /// What makes a migration that was under way pending again.
    fn forget_checkpoint(&self, task: &Task) -> Result<Vec<Change>, StorageError> {
        let Some(id) = &task.migration else { return Ok(Vec::new()) };
        Journal::new(self.storage.clone(), None).forget_checkpoint(&self.ledger().key(id))
    }

    /// Gives back the lease, with nothing to be written down.
    fn rest(&self, lease: &Lease) -> Result<(), StorageError> {
        let due = self.task()?.and_then(|task| task.due());
        match lease.release(vec![Change::Alarm(self.wake_at(due)?)]) {
            Ok(()) | Err(Lost::Superseded) => Ok(()),
            Err(Lost::Storage(error)) => Err(error),
        }
    }

    /// When the next alarm is needed: for the task, or for markers that are still to be copied.
    fn wake_at(&self, due: Option<DateTime<Utc>>) -> Result<Option<DateTime<Utc>>, StorageError> {
        let journal = Journal::new(self.storage.clone(), None);
        if journal.unmirrored()?.is_empty() {
            return Ok(due);
        }
        let failures = self.mirror_failures()?.saturating_sub(1).min(16);
        let wait = MIRROR_AGAIN.saturating_mul(1 << failures).min(MIRROR_AGAIN_AT_MOST);
        let again = self.now() + wait;
        Ok(Some(due.map_or(again, |due| due.min(again))))
    }

    fn mirror_failures(&self) -> Result<u32, StorageError> {
        Ok(rows::read(&*self.storage, MIRROR_FAILURES)?.unwrap_or(0))
    }
}

impl Step {
    fn of_run(result: Result<RunReport, Error>) -> Self {
        match result {
            Ok(report) if report.is_finished() => Self {
                ended: Ended::Finished,
                operations: report.operations,
                result: Ok(Report::Run(report)),
            },
            Ok(report) => Self {
                ended: Ended::Partly {
                    after: report.retry_after.unwrap_or(NEXT_REQUEST),
                    migration: report.remaining.first().cloned(),
                },
                operations: report.operations,
                result: Ok(Report::Run(report)),
            },
            Err(error) => Self::of_failure(error, None),
        }
    }

    fn of_rollback(id: &str, result: Result<RollbackReport, Error>, was_begun: bool) -> Self {
        let result = match result {
            Err(Error::NotRun { .. }) if was_begun => {
                Ok(RollbackReport { rolled_back: Some(id.to_owned()), ..RollbackReport::default() })
            }
            result => result,
        };
        match result {
            Ok(report) => Self {
                ended: if report.is_finished() {
                    Ended::Finished
                } else {
                    let after = report.retry_after.unwrap_or(NEXT_REQUEST);
                    Ended::Partly { after, migration: Some(id.to_owned()) }
                },
                operations: report.operations,
                result: Ok(Report::Rollback(report)),
            },
            Err(error) => Self::of_failure(error, Some(id.to_owned())),
        }
    }

    fn of_failure(error: Error, migration: Option<String>) -> Self {
        let (operations, migration) = match &error {
            Error::Failed(failure) => (failure.report.operations, Some(failure.id.clone())),
            _ => (0, migration),
        };
        let is_refused = matches!(
            error,
            Error::UnknownMigration { .. } | Error::NotRun { .. } | Error::Irreversible { .. }
        );
        let ended =
            if is_refused { Ended::Refused } else { Ended::Failed { error: error.to_string(), migration } };
        Self { ended, operations, result: Err(error.into()) }
    }
}

/// What came of a step, together with what came of those before.
fn whole(result: Result<Report, CoordinatorError>, task: &Task) -> Result<Report, CoordinatorError> {
    match result {
        Ok(Report::Run(report)) => Ok(Report::Run(task.report(report))),
        Ok(Report::Rollback(report)) => {
            Ok(Report::Rollback(RollbackReport { operations: task.operations, ..report }))
        }
        Err(CoordinatorError::Runner(Error::Failed(mut failure))) => {
            if task.action == Action::Migrate {
                failure.report = task.report(std::mem::take(&mut failure.report));
            }
            Err(CoordinatorError::Runner(Error::Failed(failure)))
        }
        Err(error) => Err(error),
    }
}
