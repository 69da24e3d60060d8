//! What a run, a rollback or a look at the ledger fails with.

use std::fmt;
use std::time::Duration;

use crate::id::RegistrationError;
use crate::kv::KvError;
use crate::report::RunReport;

/// Any error of a migration. `?` converts every [`std::error::Error`] that is [`Send`] and [`Sync`], and `.into()` converts
/// a `&str` or a `String`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The result of a migration's `up` and `down`. [`Ok`] means done: an error that is logged and swallowed makes an
/// unfinished migration count as applied.
pub type Result<T = (), E = BoxError> = std::result::Result<T, E>;

/// Why nothing more was done. The text says what to do next.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The list of migrations cannot be run. Nothing was read or changed.
    Registration(RegistrationError),
    /// Another run goes on in the same process. Nothing was read or changed.
    #[non_exhaustive]
    RunInProgress {
        /// When its lease is up at the latest, if it makes no more KV operation.
        retry_after: Duration,
    },
    /// The ledger could not be read. Nothing was changed.
    Ledger(KvError),
    /// A registered migration's marker says that it belongs to another service. Nothing was changed.
    ForeignMarker(Box<ForeignMarker>),
    /// No registered migration has this id. Nothing was changed.
    #[non_exhaustive]
    UnknownMigration {
        /// The id.
        id: String,
    },
    /// A migration that is not applied cannot be rolled back. Nothing was changed.
    #[non_exhaustive]
    NotRun {
        /// The migration.
        id: String,
    },
    /// A migration without a `down` cannot be rolled back. Nothing was changed.
    #[non_exhaustive]
    Irreversible {
        /// The migration.
        id: String,
    },
    /// The run had made no KV operation for 60 seconds, and was given up: another may go on in its place. The
    /// migration is not marked by this run.
    #[non_exhaustive]
    Superseded {
        /// The migration that it was at.
        id: String,
    },
    /// A migration failed, and those after it were not tried.
    Failed(Box<Failure>),
}

/// A marker that belongs to another service, whose migration has the same key.
#[derive(Debug)]
#[non_exhaustive]
pub struct ForeignMarker {
    /// The key.
    pub key: String,
    /// The migration of this service.
    pub id: String,
    /// The prefix of this service.
    pub service: String,
    /// The prefix of the other service, as the marker names it.
    pub owner: String,
}

/// How a migration failed, and how far the run had got.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The migration.
    pub id: String,
    /// Where it failed.
    pub stage: Stage,
    /// Why: the error's text, and those of what caused it.
    pub reason: String,
    /// What had been done before, and how far it has got, if it can be carried on. Empty otherwise for a rollback.
    pub report: RunReport,
    /// The error itself.
    pub source: BoxError,
}

/// Where in the life of a migration something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// In its `up`. It is not marked as applied; what `up` had written stays.
    Up,
    /// After its `up`, in writing its marker. Unless that was written after all, the next run runs the `up` again.
    Record,
    /// In its `down`. What that had changed stays changed. It is still marked as applied, unless its `down` can be
    /// carried on.
    Down,
    /// After its `down`, in deleting its marker. Unless that was deleted after all, it is as it was before that.
    Unrecord,
}

impl Failure {
    /// What was changed, what was not, and what to do next.
    pub fn advice(&self) -> String {
        let id = &self.id;
        let carries_on = self.report.progress.is_some();
        match self.stage {
            Stage::Up if carries_on => format!(
                "`{id}` is not marked as applied, and what it did before it failed stays. The migrations before it are \
                 done; those after it were not tried. Fix it, deploy, and migrate again: the next run carries on where \
                 it failed."
            ),
            Stage::Up => format!(
                "`{id}` is not marked as applied, and what its `up` wrote before it failed stays. The migrations \
                 before it are done; those after it were not tried. Fix it, deploy, and migrate again: the next \
                 run starts with `{id}`."
            ),
            Stage::Record => format!(
                "The `up` of `{id}` went through, but whether it is marked as applied is not known. Migrate again: if \
                 it is not, the next run runs its `up` once more."
            ),
            Stage::Down if carries_on => format!(
                "`{id}` is rolled back in part, and counts as not applied. Fix it, deploy, and roll back again to \
                 carry on where it failed; or migrate to apply it anew. Look at the status first: if it still counts \
                 as applied, nothing was changed."
            ),
            Stage::Down => format!(
                "`{id}` is still marked as applied, and what its `down` changed before it failed stays changed. Fix \
                 it, deploy, and roll back again."
            ),
            Stage::Unrecord => format!(
                "The `down` of `{id}` went through, but whether its marker is deleted is not known. Look at the \
                 status, and unless it is pending, roll back again: its `down` runs once more."
            ),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, reason, .. } = self;
        match self.stage {
            Stage::Up => write!(f, "Migration {id} failed: {reason}"),
            Stage::Record => {
                write!(f, "Migration {id} failed: it could not be marked as applied: {reason}")
            }
            Stage::Down => write!(f, "Rollback of migration {id} failed: {reason}"),
            Stage::Unrecord => {
                write!(f, "Rollback of migration {id} failed: its marker could not be deleted: {reason}")
            }
        }
    }
}

impl fmt::Display for ForeignMarker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, id, service, owner } = self;
        write!(
            f,
            "The marker `{key}` of migration {id} of `{service}` belongs to the service `{owner}`: both give it \
             the same key. Nothing was changed. Give the one of the two that was not deployed yet another id or \
             prefix."
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registration(error) => write!(f, "The migrations cannot be run: {error}"),
            Self::RunInProgress { .. } => f.write_str("Another run is in progress: nothing was done"),
            Self::Ledger(error) => write!(f, "The ledger could not be read, so nothing was changed: {error}"),
            Self::ForeignMarker(marker) => marker.fmt(f),
            Self::UnknownMigration { id } => {
                write!(f, "Migration {id:?} is not registered - cannot rollback")
            }
            Self::NotRun { id } => write!(f, "Migration {id} has not been run - cannot rollback"),
            Self::Irreversible { id } => {
                write!(f, "Migration {id} does not implement down() - cannot rollback")
            }
            Self::Superseded { id } => write!(
                f,
                "This run was given up at migration {id}: it had made no KV operation for 60 seconds. Another may \
                 go on in its place. What it had written stays. Look at the status when no run goes on any more"
            ),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Registration(error) => Some(error),
            Self::Ledger(error) => Some(error),
            Self::Failed(failure) => Some(&*failure.source),
            _ => None,
        }
    }
}

impl From<RegistrationError> for Error {
    fn from(error: RegistrationError) -> Self {
        Self::Registration(error)
    }
}

/// The text of an error and of what caused it, each once: many errors end with their cause's text.
pub(crate) fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
