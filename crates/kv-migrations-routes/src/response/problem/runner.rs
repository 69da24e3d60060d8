//! The errors of a run, a rollback or a status, with or without a coordinator.

use std::time::Duration;

use kv_migrations::kv::{KvError, KvErrorKind};
use kv_migrations::{Error, Failure, RunReport, Stage};

use super::{Problem, kinds};

/// As long as the lease of a run.
const LEASE: Duration = Duration::from_mins(1);
const KV_RETRY_AFTER: Duration = Duration::from_secs(5);

impl Problem {
    /// A run that is not finished, for a caller who requires that.
    pub(crate) fn unfinished(report: RunReport) -> Box<Self> {
        let number = report.remaining.len();
        let detail = format!("Migrations that are still to be applied: {number}.");
        Self::new(&kinds::UNFINISHED, detail)
            .with_retry_after(report.retry_after.unwrap_or_default())
            .with_migration(report.remaining.into_iter().next())
            .with_run(report.ran, report.skipped)
    }

    /// The context of the migrations, which only the service can make, failed.
    pub(crate) fn context(reason: &str) -> Box<Self> {
        Self::new(
            &kinds::CONTEXT_FAILED,
            format!("The context of the migrations could not be made: {reason}"),
        )
    }

    fn failed(failure: Failure) -> Box<Self> {
        let is_rollback = matches!(failure.stage, Stage::Down | Stage::Unrecord);
        let kind = if is_rollback { &kinds::ROLLBACK_FAILED } else { &kinds::MIGRATION_FAILED };
        let mut problem = Self::new(kind, failure.to_string());
        problem.help = failure.advice().into();
        if !is_rollback {
            problem = problem.with_run(failure.report.ran, failure.report.skipped);
        }
        problem.with_migration(failure.id)
    }

    fn ledger(error: &KvError, detail: String) -> Box<Self> {
        match error.kind() {
            KvErrorKind::Superseded => Self::new(&kinds::RUN_IN_PROGRESS, detail).with_retry_after(LEASE),
            _ if error.is_retryable() => {
                Self::new(&kinds::KV_UNAVAILABLE, detail).with_retry_after(KV_RETRY_AFTER)
            }
            _ => Self::new(&kinds::KV_FAILED, detail),
        }
    }

    fn with_run(mut self: Box<Self>, ran: Vec<String>, skipped: Vec<String>) -> Box<Self> {
        self.ran = Some(ran);
        self.skipped = Some(skipped);
        self
    }
}

impl From<Error> for Box<Problem> {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error {
            Error::Failed(failure) => Problem::failed(*failure),
            Error::UnknownMigration { id, .. } => {
                Problem::new(&kinds::UNKNOWN_MIGRATION, detail).with_migration(id)
            }
            Error::NotRun { id, .. } => Problem::new(&kinds::NOT_RUN, detail).with_migration(id),
            Error::Irreversible { id, .. } => Problem::new(&kinds::IRREVERSIBLE, detail).with_migration(id),
            Error::AlreadyApplied { id, .. } => {
                Problem::new(&kinds::ALREADY_APPLIED, detail).with_migration(id)
            }
            Error::ForeignMarker(marker) => {
                Problem::new(&kinds::FOREIGN_MARKER, detail).with_migration(marker.id)
            }
            Error::AnotherPrefix { .. } => Problem::new(&kinds::ANOTHER_PREFIX, detail),
            Error::RunInProgress { retry_after, .. } => {
                Problem::new(&kinds::RUN_IN_PROGRESS, detail).with_retry_after(retry_after)
            }
            Error::Superseded { id, .. } => {
                Problem::new(&kinds::RUN_IN_PROGRESS, detail).with_retry_after(LEASE).with_migration(id)
            }
            Error::Ledger(error) => Problem::ledger(&error, detail),
            Error::LedgerTooLarge { .. } => Problem::new(&kinds::LEDGER_TOO_LARGE, detail),
            Error::Registration(_) => Problem::new(&kinds::INVALID_REGISTRATION, detail),
            _ => Problem::new(&kinds::OTHER, detail),
        }
    }
}
