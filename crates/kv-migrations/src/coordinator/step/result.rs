//! How a step ended, and what its caller is told.

use std::time::Duration;

use crate::change::NEXT_REQUEST;
use crate::coordinator::error::CoordinatorError;
use crate::coordinator::transition::StepOutcome;
use crate::coordinator::waiters::TaskReport;
use crate::error::Error;
use crate::kv::KvErrorKind;
use crate::report::{RollbackReport, RunReport};

/// A step that has ended.
pub(crate) struct StepResult {
    pub(crate) outcome: StepOutcome,
    pub(crate) result: Result<TaskReport, CoordinatorError>,
    pub(crate) operations: u64,
}

/// The pause before a step that waits for nothing, in which the object answers who asks.
const NEXT_STEP: Duration = Duration::from_millis(1);

/// How a step ends that leaves something to do. A request pauses for a second where KV takes no write to the marker before;
/// a step writes a row instead.
fn unfinished(retry_after: Option<Duration>, is_over_quota: bool, migration: Option<String>) -> StepOutcome {
    let after = retry_after.filter(|after| *after != NEXT_REQUEST).unwrap_or(NEXT_STEP);
    if is_over_quota {
        StepOutcome::OverQuota { after, migration }
    } else {
        StepOutcome::Unfinished { after, migration }
    }
}

impl StepResult {
    /// The result of a step that could not be taken.
    pub(super) fn failed(error: CoordinatorError, migration: Option<&str>) -> Self {
        let migration = migration.map(str::to_owned);
        let outcome = StepOutcome::Failed { error: error.to_string(), migration, done: 0 };
        Self { outcome, operations: 0, result: Err(error) }
    }

    /// The result of a step that has applied what this release registers, and not these migrations.
    pub(super) fn of_another_release(ids: Vec<String>, report: RunReport) -> Self {
        let (migration, operations) = (ids.first().cloned(), report.operations);
        let error = CoordinatorError::AnotherRelease { ids, report: Box::new(report) };
        let outcome = StepOutcome::Elsewhere { error: error.to_string(), migration };
        Self { outcome, operations, result: Err(error) }
    }

    /// Whether the next step follows at once.
    pub(crate) fn is_followed_at_once(&self) -> bool {
        matches!(self.outcome, StepOutcome::Unfinished { after, .. } if after <= NEXT_STEP)
    }

    pub(super) fn from_run(result: Result<RunReport, Error>) -> Self {
        match result {
            Ok(report) => Self {
                outcome: if report.is_finished() {
                    StepOutcome::Finished
                } else {
                    let migration = report.remaining.first().cloned();
                    unfinished(report.retry_after, report.quota_exhausted, migration)
                },
                operations: report.operations,
                result: Ok(TaskReport::Run(Box::new(report))),
            },
            Err(error) => Self::from_error(error, None),
        }
    }

    /// `was_begun`: an earlier step found something to roll back, so that a migration that is not applied is rolled
    /// back.
    pub(super) fn from_rollback(id: &str, result: Result<RollbackReport, Error>, was_begun: bool) -> Self {
        let result = match result {
            Err(Error::NotRun { .. }) if was_begun => {
                Ok(RollbackReport { rolled_back: Some(id.to_owned()), ..RollbackReport::default() })
            }
            result => result,
        };
        match result {
            Ok(report) => Self {
                outcome: if report.is_finished() {
                    StepOutcome::Finished
                } else {
                    unfinished(report.retry_after, report.quota_exhausted, Some(id.to_owned()))
                },
                operations: report.operations,
                result: Ok(TaskReport::Rollback(report)),
            },
            Err(error) => Self::from_error(error, Some(id)),
        }
    }

    /// The result of a step that ended with an error.
    pub(super) fn from_error(error: Error, migration: Option<&str>) -> Self {
        let (operations, migration, done) = match &error {
            Error::Failed(failure) => {
                let done = failure.report.progress.as_ref().map_or(0, |progress| progress.done);
                (failure.report.operations, Some(failure.id.as_str()), done)
            }
            _ => (0, migration, 0),
        };
        let (migration, text) = (migration.map(str::to_owned), error.to_string());
        let is_refused = matches!(
            error,
            Error::UnknownMigration { .. }
                | Error::NotRun { .. }
                | Error::Irreversible { .. }
                | Error::AnotherPrefix { .. }
                | Error::Refused { .. }
                | Error::NotABackfill { .. }
                | Error::NotRegistered { .. }
                | Error::RollbackUnfinished { .. }
                | Error::Registration(_)
        );
        let until_quota = match &error {
            Error::Ledger(error) => match *error.kind() {
                KvErrorKind::QuotaExhausted { retry_after } => Some(retry_after),
                _ => None,
            },
            _ => None,
        };
        let outcome = if is_refused {
            StepOutcome::Refused { error: text }
        } else if let Some(after) = until_quota {
            StepOutcome::OverQuota { after, migration }
        } else {
            StepOutcome::Failed { error: text, migration, done }
        };
        Self { outcome, operations, result: Err(error.into()) }
    }
}
