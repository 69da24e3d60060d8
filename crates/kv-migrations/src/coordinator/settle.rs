//! What follows on a step: how its task goes on is written down, and those who wait are answered.

use super::error::CoordinatorError;
use super::records::{Records, put_task};
use super::report::RunOutcome;
use super::storage::lease::is_written;
use super::storage::{Lease, RowChange, StorageError};
use super::task::{Findings, Task, Work};
use super::transition::Transition;
use super::waiters::{Reply, TaskReport, Waiters};
use crate::error::Error;
use crate::report::AppliedMigration;

/// Settles a task that was paused or cancelled: its caller is told so.
pub(super) fn settle_stop(
    records: &Records,
    waiters: &Waiters,
    lease: &Lease,
    transition: &Transition,
) -> Result<(), StorageError> {
    let task = &transition.task;
    let error = match transition.outcome {
        RunOutcome::Cancelled => CoordinatorError::Cancelled { id: task.migration().map(str::to_owned) },
        _ => CoordinatorError::Paused(Box::new(task.activity())),
    };
    settle(records, waiters, lease, transition, Err(error))
}

/// Writes down how a task goes on, gives the lease back, and answers those who wait. If the lease was lost, nothing
/// happens.
pub(super) fn settle(
    records: &Records,
    waiters: &Waiters,
    lease: &Lease,
    transition: &Transition,
    result: Result<TaskReport, CoordinatorError>,
) -> Result<(), StorageError> {
    let Transition { task, outcome } = transition;
    let (mut changes, due) = match outcome {
        RunOutcome::Running | RunOutcome::Paused => (vec![put_task(task)], task.due()),
        _ => (records.end(task, *outcome, findings(task, &result))?, None),
    };
    let mut alarm = records.alarm_at(due, records.now())?;
    let mut forgotten = None;
    if *outcome == RunOutcome::Cancelled {
        forgotten = forget_checkpoint(records, task, &mut changes)?;
        if matches!(task.work, Work::RollbackUntil { .. }) {
            let (journal, key) = (records.journal(), records.rollback_note_key());
            if journal.marker(&key)?.is_some_and(|row| row.exists()) {
                changes.extend(journal.own_changes(&key, None)?);
                alarm = Some(records.now());
            }
        }
    }
    if forgotten.is_some() {
        // To copy that to KV.
        alarm = Some(records.now());
    }
    changes.push(RowChange::alarm(alarm));
    if !is_written(lease.release(changes))? {
        return Ok(());
    }
    if let Some(key) = forgotten {
        records.journal().tell(&key, None, Some(task.number));
    }
    // Nobody waits for hours. Alarms continue the task.
    let is_last = *outcome != RunOutcome::Running || task.is_awaiting_quota();
    waiters.reply(Reply { number: task.number, is_shared: task.work.is_shared(), is_last, result });
    waiters.steps.notify();
    if is_last || task.is_replaceable() {
        waiters.ends.notify();
    }
    Ok(())
}

/// What the last report says beside what the steps have written down.
fn findings(task: &Task, result: &Result<TaskReport, CoordinatorError>) -> Findings {
    let report = match result {
        Ok(TaskReport::Run(report)) | Err(CoordinatorError::AnotherRelease { report, .. }) => report,
        Err(CoordinatorError::Runner(Error::Failed(failure))) => &failure.report,
        Ok(TaskReport::Rollback(report)) => {
            let rolled_back = task.migration().map(|id| AppliedMigration {
                id: id.to_owned(),
                duration_ms: report.duration_ms,
                operations: report.operations,
                entries: report.entries,
                failed_entries: report.failed_entries.clone(),
                more_failed_entries: 0,
                left_out: 0,
            });
            return Findings { rolled_back, ..Findings::default() };
        }
        Err(_) => return Findings::default(),
    };
    Findings {
        out_of_order: report.out_of_order.clone(),
        missing: report.missing.clone(),
        unfinished: report.unfinished.clone(),
        warnings: report.warnings.clone(),
        rolled_back: None,
    }
}

/// Adds the changes that make a migration pending again that has begun. The key of its marker, if there are any.
fn forget_checkpoint(
    records: &Records,
    task: &Task,
    changes: &mut Vec<RowChange>,
) -> Result<Option<String>, StorageError> {
    let Some(id) = task.migration() else { return Ok(None) };
    let key = records.marker_key(id);
    let forgotten = records.journal().forget_checkpoint(&key)?;
    let has_changed = !forgotten.is_empty();
    changes.extend(forgotten);
    Ok(has_changed.then_some(key))
}

/// Gives the lease back when there is nothing to write down.
pub(super) fn release(records: &Records, lease: &Lease) -> Result<(), StorageError> {
    let due = records.task()?.and_then(|task| task.due());
    is_written(lease.release(vec![RowChange::alarm(records.alarm_at(due, records.now())?)])).map(drop)
}
