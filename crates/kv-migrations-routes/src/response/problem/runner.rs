//! The errors of a run, a rollback or a status, with or without a coordinator.

use std::mem::take;
use std::time::Duration;

use kv_migrations::kv::KvErrorKind;
use kv_migrations::{Error, Failure, RunReport, Stage};

use super::{Problem, kinds};
use crate::request::query::rollback_request;

/// As long as the lease of a run.
const LEASE: Duration = Duration::from_mins(1);
const KV_RETRY_AFTER: Duration = Duration::from_secs(5);

impl Problem {
    /// A run that is not finished, for a caller who requires that.
    pub(crate) fn unfinished(report: &mut RunReport) -> Box<Self> {
        let number = report.remaining.len();
        let detail = format!("Migrations that are still to be applied: {number}.");
        let kind = if report.quota_exhausted { &kinds::QUOTA_EXHAUSTED } else { &kinds::UNFINISHED };
        let mut problem = Self::new(kind, detail)
            .with_retry_after(report.retry_after.unwrap_or_default())
            .with_migration(report.remaining.first().cloned());
        problem.take_run(report);
        problem
    }

    /// The context of the migrations, which only the service can make, failed.
    pub(crate) fn context(reason: &str) -> Box<Self> {
        Self::new(
            &kinds::CONTEXT_FAILED,
            format!("The context of the migrations could not be made: {reason}"),
        )
    }

    /// Takes what the run did, and leaves the rest: to drop a report in parts would add more code.
    fn take_run(&mut self, report: &mut RunReport) {
        self.ran = Some(take(&mut report.ran));
        self.skipped = Some(take(&mut report.skipped));
    }
}

fn is_rollback(failure: &Failure) -> bool {
    matches!(failure.stage, Stage::Down | Stage::Unrecord)
}

impl From<Error> for Box<Problem> {
    fn from(mut error: Error) -> Self {
        let detail = format!("{error}");
        let (kind, id, retry_after) = match &error {
            Error::Failed(failure) if is_rollback(failure) => {
                (&kinds::ROLLBACK_FAILED, Some(&failure.id), None)
            }
            Error::Failed(failure) => (&kinds::MIGRATION_FAILED, Some(&failure.id), None),
            Error::UnknownMigration { id, .. } => (&kinds::UNKNOWN_MIGRATION, Some(id), None),
            Error::NotRun { id, .. } => (&kinds::NOT_RUN, Some(id), None),
            Error::Irreversible { id, .. } => (&kinds::IRREVERSIBLE, Some(id), None),
            Error::AlreadyApplied { id, .. } => (&kinds::ALREADY_APPLIED, Some(id), None),
            Error::NotRegistered { ids, .. } => (&kinds::NOT_REGISTERED, ids.first(), None),
            Error::RollbackUnfinished { to, .. } => (&kinds::ROLLBACK_UNFINISHED, to.as_ref(), None),
            Error::Refused { id, .. } => (&kinds::RUN_REFUSED, Some(id), None),
            Error::NotABackfill { id, .. } => (&kinds::INVALID_QUERY, Some(id), None),
            Error::ForeignMarker(marker) => (&kinds::FOREIGN_MARKER, Some(&marker.id), None),
            Error::AnotherPrefix { .. } => (&kinds::ANOTHER_PREFIX, None, None),
            Error::RunInProgress { retry_after, .. } => (&kinds::RUN_IN_PROGRESS, None, Some(*retry_after)),
            Error::Superseded { id, .. } => (&kinds::RUN_IN_PROGRESS, Some(id), Some(LEASE)),
            Error::Ledger(error) => match error.kind() {
                KvErrorKind::Superseded => (&kinds::RUN_IN_PROGRESS, None, Some(LEASE)),
                KvErrorKind::QuotaExhausted { retry_after, .. } => {
                    (&kinds::QUOTA_EXHAUSTED, None, Some(*retry_after))
                }
                _ if error.is_retryable() => (&kinds::KV_UNAVAILABLE, None, Some(KV_RETRY_AFTER)),
                _ => (&kinds::KV_FAILED, None, None),
            },
            Error::LedgerTooLarge { .. } => (&kinds::LEDGER_TOO_LARGE, None, None),
            Error::Registration(_) => (&kinds::INVALID_REGISTRATION, None, None),
            _ => (&kinds::OTHER, None, None),
        };
        let mut problem = Problem::new(kind, detail).with_migration(id.cloned());
        if let Some(after) = retry_after {
            problem = problem.with_retry_after(after);
        }
        match &mut error {
            Error::Failed(failure) => {
                problem.help = failure.advice().into();
                if is_rollback(failure) {
                    problem.rolled_back = take(&mut failure.report.rolled_back);
                } else {
                    problem.take_run(&mut failure.report);
                }
            }
            Error::RollbackUnfinished { to, .. } => {
                problem.continue_with = Some(rollback_request(to.as_deref()));
            }
            _ => {}
        }
        problem
    }
}
