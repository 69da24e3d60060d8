//! What all steps of a task did together.

use crate::coordinator::error::CoordinatorError;
use crate::coordinator::storage::{Storage, StorageError, applied};
use crate::coordinator::task::{Task, Work};
use crate::coordinator::waiters::TaskReport;
use crate::error::Error;
use crate::id::IdSet;
use crate::report::{AppliedMigration, RollbackReport, RunReport};
use crate::runner::look_alike_warning;

/// The result of the last step, with what the steps before did.
pub(crate) fn total<'a>(
    storage: &dyn Storage,
    registered: impl Iterator<Item = &'a str> + Clone,
    last: Result<TaskReport, CoordinatorError>,
    task: &Task,
) -> Result<Result<TaskReport, CoordinatorError>, StorageError> {
    Ok(match last {
        Ok(TaskReport::Run(last)) => Ok(TaskReport::Run(Box::new(run(storage, registered, *last, task)?))),
        Ok(TaskReport::Rollback(last)) => {
            Ok(TaskReport::Rollback(RollbackReport { operations: task.totals.operations, ..last }))
        }
        Err(CoordinatorError::Runner(Error::Failed(mut failure))) => {
            if !matches!(task.work, Work::Rollback { .. }) {
                failure.report = run(storage, registered, std::mem::take(&mut failure.report), task)?;
            }
            Err(CoordinatorError::Runner(Error::Failed(failure)))
        }
        Err(CoordinatorError::AnotherRelease { ids, report }) => {
            let report = Box::new(run(storage, registered, *report, task)?);
            Err(CoordinatorError::AnotherRelease { ids, report })
        }
        Err(error) => Err(error),
    })
}

fn run<'a>(
    storage: &dyn Storage,
    registered: impl Iterator<Item = &'a str> + Clone,
    last: RunReport,
    task: &Task,
) -> Result<RunReport, StorageError> {
    let details = applied::read(storage)?;
    let ran: Vec<String> = details.iter().map(|applied| applied.id.clone()).collect();
    let operations = task.totals.operations;
    if matches!(task.work, Work::RollbackUntil { .. }) {
        return Ok(RunReport { rolled_back: ran, details, operations, ..last });
    }
    let is_ran = IdSet::new(ran.iter().map(String::as_str));
    let skipped: Vec<String> = last.skipped.into_iter().filter(|id| !is_ran.contains(id)).collect();
    let last_skipped = skipped.last().map(String::as_str);
    let mut warnings: Vec<String> = details.iter().filter_map(AppliedMigration::warning).collect();
    warnings.extend(ran.iter().filter_map(|id| look_alike_warning(id, registered.clone(), &last.missing)));
    let before = registered.take_while(|id| last_skipped.is_some_and(|last| last != *id));
    let out_of_order = before.filter(|id| is_ran.contains(id)).map(str::to_owned).collect();
    Ok(RunReport { ran, skipped, details, out_of_order, warnings, operations, ..last })
}
