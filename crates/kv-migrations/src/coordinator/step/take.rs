//! Takes a step: adopts markers, runs the runner, and writes down what happens while it happens.

use std::sync::{Arc, PoisonError};

use super::context::Step;
use super::result::StepResult;
use crate::budget::Interrupt;
use crate::clock::iso8601;
use crate::coordinator::adopt::adopt;
use crate::coordinator::error::CoordinatorError;
use crate::coordinator::observer::JournalEvent;
use crate::coordinator::records::put_task;
use crate::coordinator::storage::lease::is_written;
use crate::coordinator::storage::{LeaseError, StorageError, applied, asked};
use crate::coordinator::task::{Task, Work};
use crate::error::reason;
use crate::id::IdSet;
use crate::kv::Store;
use crate::ledger::{FailureRecord, Ledger, MarkerState};
use crate::report::{Direction, Event};
use crate::sabotage::{self, Defect};

/// Takes the next step of a task.
pub(crate) async fn take<C>(step: &Step<'_, C>, task: &Task) -> StepResult {
    match try_to_take(step, task).await {
        Ok(result) => result,
        Err(CoordinatorError::Runner(error)) => StepResult::from_error(error, task.migration()),
        Err(error) => StepResult::failed(error, task.migration()),
    }
}

async fn try_to_take<C>(step: &Step<'_, C>, task: &Task) -> Result<StepResult, CoordinatorError> {
    let coordinator = step.coordinator;
    let interrupt = Interrupt::default();
    coordinator.interrupt.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&interrupt);
    let (runner, kv) = (&coordinator.runner, Ledger::new(step.kv(), coordinator.runner.service()));
    // What was applied without the object is not applied again.
    let write = |changes| is_written(step.lease.write(changes));
    adopt(&kv, runner.registered().ids(), &step.journal, write).await?;
    let context = (coordinator.context)().map_err(|error| CoordinatorError::Context(reason(&*error)))?;
    let is_stale = sabotage::is_on(Defect::StaleLedger);
    let journal = (!is_stale).then(|| Arc::new(step.journal.clone()) as Arc<dyn Store>);
    let runner = runner.for_step(step.fence(), journal, interrupt);
    let result = match &task.work {
        Work::Migrate { until, .. } => {
            let observer = |event: &Event| observe(step, event);
            let report = runner.run_pending_until(until, &context, &observer).await;
            let left = match &report {
                Ok(_) if sabotage::is_on(Defect::OlderReleaseFinishes) => Vec::new(),
                Ok(report) if report.is_finished() && !task.work.is_one_step() => {
                    left_for_another_release(step, task).await?
                }
                _ => Vec::new(),
            };
            match report {
                Ok(report) if !left.is_empty() => return Ok(StepResult::of_another_release(left, report)),
                report => StepResult::from_run(report),
            }
        }
        Work::RollbackUntil { until, .. } => {
            // Those who are told of events wait for a run.
            let observer = |event: &Event| {
                if note(step, event).is_err() {
                    step.lease.abandon();
                }
            };
            StepResult::from_run(runner.rollback_until_observed(until, &context, &observer).await)
        }
        Work::Rollback { id, is_begun } => {
            note_begun(step, id)?;
            StepResult::from_rollback(id, runner.rollback(id, &context).await, *is_begun)
        }
    };
    // The runner sees a store that failed, and not that a row of it cannot be read.
    match step.journal.take_failure().filter(|_| result.result.is_err()) {
        Some(error) if error.unreadable_row().is_some() => Err(error.into()),
        _ => Ok(result),
    }
}

/// The migrations that the run was asked to apply, or was at, that are not applied, and that this release does not
/// register.
async fn left_for_another_release<C>(
    step: &Step<'_, C>,
    task: &Task,
) -> Result<Vec<String>, CoordinatorError> {
    let records = &step.coordinator.records;
    let registered = IdSet::new(step.coordinator.runner.registered().ids());
    let mut ids = asked::read(&*records.storage)?;
    if let Some(id) = task.migration().filter(|id| !ids.iter().any(|other| other == id)) {
        ids.push(id.to_owned());
    }
    ids.retain(|id| !registered.contains(id));
    let markers = records.load_from(&step.journal, ids.iter().map(String::as_str)).await?;
    ids.retain(|id| !markers.is_applied(id));
    Ok(ids)
}

/// Records in the ledger that a migration failed whose steps were all cut off. Its checkpoint is kept.
pub(crate) async fn mark_failed<C>(step: &Step<'_, C>, task: &Task, error: &CoordinatorError) {
    let Some(id) = task.migration() else { return };
    let records = &step.coordinator.records;
    let ledger = records.ledger(step.journal.clone());
    let (at, reason) = (iso8601(records.now()), error.to_string());
    let failed = FailureRecord { at, reason: &reason };
    let checkpoint = match ledger.state_of(id).await {
        Ok(MarkerState::Unfinished(checkpoint)) => Some(checkpoint),
        _ => None,
    };
    // A `down` that is a closure leaves no checkpoint.
    let asked = match task.work {
        Work::Migrate { .. } => Direction::Up,
        Work::Rollback { .. } | Work::RollbackUntil { .. } => Direction::Down,
    };
    let direction = checkpoint.as_ref().map_or(asked, |checkpoint| checkpoint.progress.direction);
    ledger.record_failed(id, direction, failed, checkpoint).await.ok();
}

/// Notes that there is something to roll back. If the step is cut off when that is done, the next step finds nothing,
/// and must not take that for a mistake of the caller.
fn note_begun<C>(step: &Step<'_, C>, id: &str) -> Result<(), StorageError> {
    let records = &step.coordinator.records;
    let can_be_undone =
        step.journal.marker(&records.marker_key(id))?.is_some_and(|marker| marker.can_be_undone());
    if let (true, Some(mut task)) = (can_be_undone, records.task()?) {
        task.work = Work::Rollback { id: id.to_owned(), is_begun: true };
        // If the lease was lost, the next operation fails.
        step.lease.write(vec![put_task(&task)]).ok();
    }
    Ok(())
}

/// Writes down what the runner does, so that it is known even if the step is cut off. A step that cannot write it down
/// is over.
fn observe<C>(step: &Step<'_, C>, event: &Event) {
    if note(step, event).is_err() {
        step.lease.abandon();
    }
    step.coordinator.waiters.tell(event);
}

fn note<C>(step: &Step<'_, C>, event: &Event) -> Result<(), LeaseError> {
    let records = &step.coordinator.records;
    let Some(mut task) = records.task().map_err(LeaseError::Storage)? else { return Ok(()) };
    match (event, &mut task.work) {
        (Event::Started { id, .. }, work) => {
            let is_run = matches!(work, Work::Migrate { .. });
            task.move_to(Some(id.clone()));
            step.lease.write(vec![put_task(&task)])?;
            if is_run {
                records.observer.tell(|| JournalEvent::Started { task: task.number, id: id.clone() });
            }
            Ok(())
        }
        (Event::Applied(migration), Work::Migrate { ran, .. } | Work::RollbackUntil { ran, .. }) => {
            let row = applied::add(*ran, migration);
            *ran = ran.saturating_add(1);
            step.lease.write(vec![row, put_task(&task)])
        }
        _ => Ok(()),
    }
}
