//! How a step ended, and what is answered.

use super::request::Report;
use super::task::{Action, Ended, Task};
use super::{CoordinatorError, Storage, StorageError, ran};
use crate::change::NEXT_REQUEST;
use crate::error::Error;
use crate::id::IdSet;
use crate::report::{RollbackReport, RunReport};

/// A step that was taken.
pub(super) struct Taken {
    pub(super) ended: Ended,
    pub(super) result: Result<Report, CoordinatorError>,
    pub(super) operations: u64,
}

impl Taken {
    /// One that could not be taken.
    pub(super) fn failed(error: CoordinatorError, migration: Option<String>) -> Self {
        let ended = Ended::Failed { error: error.to_string(), migration, done: 0 };
        Self { ended, operations: 0, result: Err(error) }
    }

    pub(super) fn of_run(result: Result<RunReport, Error>) -> Self {
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

    pub(super) fn of_rollback(id: &str, result: Result<RollbackReport, Error>, was_begun: bool) -> Self {
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
        let (operations, migration, done) = match &error {
            Error::Failed(failure) => {
                let done = failure.report.progress.as_ref().map_or(0, |progress| progress.done);
                (failure.report.operations, Some(failure.id.clone()), done)
            }
            _ => (0, migration, 0),
        };
        let is_refused = matches!(
            error,
            Error::UnknownMigration { .. } | Error::NotRun { .. } | Error::Irreversible { .. }
        );
        let reason = error.to_string();
        let ended = if is_refused {
            Ended::Refused { error: reason }
        } else {
            Ended::Failed { error: reason, migration, done }
        };
        Self { ended, operations, result: Err(error.into()) }
    }
}

/// What came of a step, together with what came of those before.
pub(super) fn whole<'a>(
    storage: &dyn Storage,
    registered: impl Iterator<Item = &'a str>,
    result: Result<Report, CoordinatorError>,
    task: &Task,
) -> Result<Result<Report, CoordinatorError>, StorageError> {
    Ok(match result {
        Ok(Report::Run(last)) => Ok(Report::Run(run(storage, registered, last, task)?)),
        Ok(Report::Rollback(last)) => {
            Ok(Report::Rollback(RollbackReport { operations: task.operations, ..last }))
        }
        Err(CoordinatorError::Runner(Error::Failed(mut failure))) => {
            if task.action == Action::Migrate {
                failure.report = run(storage, registered, std::mem::take(&mut failure.report), task)?;
            }
            Err(CoordinatorError::Runner(Error::Failed(failure)))
        }
        Err(error) => Err(error),
    })
}

/// The report of all steps of a run, where `last` is that of the last one.
fn run<'a>(
    storage: &dyn Storage,
    registered: impl Iterator<Item = &'a str>,
    last: RunReport,
    task: &Task,
) -> Result<RunReport, StorageError> {
    let details = ran::read(storage)?;
    let ran: Vec<String> = details.iter().map(|detail| detail.id.clone()).collect();
    let known = IdSet::new(ran.iter().map(String::as_str));
    let skipped: Vec<String> = last.skipped.into_iter().filter(|id| !known.contains(id.as_str())).collect();
    let last_skipped = skipped.last().map(String::as_str);
    let before = registered.take_while(|id| last_skipped.is_some_and(|last| last != *id));
    let out_of_order = before.filter(|id| known.contains(id)).map(str::to_owned).collect();
    Ok(RunReport { ran, skipped, details, out_of_order, operations: task.operations, ..last })
}
