//! The errors of runs, rollbacks and the ledger.

mod reason;

use std::fmt;
use std::time::Duration;

use crate::id::RegistrationError;
use crate::kv::{KvError, Operation};
use crate::report::RunReport;
use crate::text::listed;
pub use reason::reason;

/// Any error of a migration. `?` converts every [`std::error::Error`] that is [`Send`] and [`Sync`], and `.into()` converts
/// a `&str` or a `String`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The result of a migration's `up` and `down`. [`Ok`] means done: an error that is logged and swallowed makes an
/// unfinished migration count as applied.
pub type Result<T = (), E = BoxError> = std::result::Result<T, E>;

/// Why a run, a rollback or a status failed. The text says what to do next.
#[derive(Clone)]
#[non_exhaustive]
pub enum Error {
    /// The list of migrations is not valid. Nothing was read or changed.
    Registration(RegistrationError),
    /// Another run is in progress in the same process. Nothing was read or changed.
    #[non_exhaustive]
    RunInProgress {
        /// When its lease expires, if it makes no more KV operations.
        retry_after: Duration,
    },
    /// The ledger could not be read, and nothing was changed. Or a marker could not be written, which may have been written
    /// all the same: [`KvError::operation`] tells which.
    Ledger(KvError),
    /// More than 10,000 keys begin like markers of this service, and more than 100 registered migrations have markers that
    /// do not say `true`: reading them all would take too many operations. Or several are to be rolled back, and it is not
    /// known which are applied besides. Nothing was changed.
    #[non_exhaustive]
    LedgerTooLarge {
        /// The start of the markers' keys.
        prefix: String,
    },
    /// The marker of a registered migration belongs to another service. Nothing was changed.
    ForeignMarker(Box<ForeignMarker>),
    /// Nothing is applied under this service's prefix, and all that is applied under another prefix of the namespace is
    /// registered here: the prefix may be mistyped or changed. Nothing was changed.
    #[non_exhaustive]
    AnotherPrefix {
        /// The prefix of this service.
        service: String,
        /// The other prefix.
        other: String,
    },
    /// The run found what the runner [refuses](crate::Runner::refusing). Nothing was changed.
    #[non_exhaustive]
    Refused {
        /// The migration, or the other prefix.
        id: String,
        /// What was found.
        reason: String,
    },
    /// No registered migration has this id. Nothing was changed.
    #[non_exhaustive]
    UnknownMigration {
        /// The id.
        id: String,
    },
    /// The migration is not applied, so it cannot be rolled back, rolled back to, or unmarked. Nothing was changed.
    #[non_exhaustive]
    NotRun {
        /// The migration.
        id: String,
        /// What cannot be done: `rollback`, `rollback to it` or `unmark`.
        action: &'static str,
    },
    /// The migration is applied, so that it cannot be reset. Nothing was changed.
    #[non_exhaustive]
    AlreadyApplied {
        /// The migration.
        id: String,
    },
    /// The migration has no `down`, so it cannot be rolled back, applied or not. Nothing was changed.
    #[non_exhaustive]
    Irreversible {
        /// The migration.
        id: String,
    },
    /// Migrations are applied, or have begun, that are not registered, so that nothing tells in which order to roll back.
    /// Nothing was changed.
    #[non_exhaustive]
    NotRegistered {
        /// The migrations.
        ids: Vec<String>,
    },
    /// A rollback of several migrations is not finished, so that the number of further steps would count from another
    /// migration than before. Nothing was changed.
    #[non_exhaustive]
    RollbackUnfinished {
        /// The last migration that it leaves as it is. `None` if it rolls back all.
        to: Option<String>,
    },
    /// The migration is not a backfill, or is to be rolled back, so that no number of its entries can be changed. Nothing was
    /// changed.
    #[non_exhaustive]
    NotABackfill {
        /// The migration.
        id: String,
    },
    /// The run made no KV operation for 60 seconds and lost its lease: another run may be in progress. This run did not mark
    /// the migration.
    #[non_exhaustive]
    Superseded {
        /// The migration that the run was at.
        id: String,
        /// What the migration itself failed with, if anything else than the loss of the lease.
        reason: Option<String>,
    },
    /// A migration failed. Those after it were not tried.
    Failed(Box<Failure>),
}

/// A marker that belongs to another service, whose migration has the same key.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ForeignMarker {
    /// The key.
    pub key: String,
    /// The migration of this service.
    pub id: String,
    /// The prefix of this service.
    pub service: String,
    /// The prefix of the other service, as the marker names it. Empty if it names none and the migration is not registered.
    pub owner: String,
}

/// How a migration failed, and how far the run got.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The migration.
    pub id: String,
    /// The stage at which it failed.
    pub stage: Stage,
    /// Why: the text of the error and of its causes.
    pub reason: String,
    /// What the run, or the rollback, did before, and how far the migration got if it can be resumed.
    pub report: RunReport,
    /// The error itself.
    pub source: BoxError,
}

/// The stage of a run or a rollback at which a migration failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// In its `up`. The migration is not marked as applied; what `up` wrote stays.
    Up,
    /// After its `up`, in writing its marker. If the marker was not written after all, the next run runs `up` again.
    Record,
    /// In its `down`. What `down` changed stays changed. The migration is still marked as applied, unless its `down` can be
    /// resumed.
    Down,
    /// After its `down`, in deleting its marker. If the marker was not deleted after all, the migration is still marked as
    /// applied.
    Unrecord,
}

/// The source of a clone is the [`reason`](Failure::reason): errors of migrations cannot be cloned.
impl Clone for Failure {
    fn clone(&self) -> Self {
        let (reason, source) = (self.reason.clone(), self.reason.clone().into());
        Self { id: self.id.clone(), stage: self.stage, reason, report: self.report.clone(), source }
    }
}

impl Failure {
    /// Returns what was changed, what was not, and what to do next.
    pub fn advice(&self) -> String {
        let is_resumed = self.report.progress.is_some();
        let advice = match self.stage {
            Stage::Up if is_resumed => {
                "is not marked as applied, and what it did before it failed stays. Those before it are applied; those after \
                 it were not tried. Fix it, deploy, and migrate again: the next run resumes it."
            }
            Stage::Up => {
                "is not marked as applied, and what its `up` wrote before it failed stays. Those before it are applied; those \
                 after it were not tried. Fix it, deploy, and migrate again."
            }
            Stage::Record => {
                "has run its `up`, but may not be marked as applied. Migrate again: if it is not marked, its `up` runs again."
            }
            Stage::Down if is_resumed => {
                "is partly rolled back and counts as not applied. Fix it, deploy, and roll it back again to resume it; or \
                 migrate to apply it from the start. If the status still says applied, nothing was changed."
            }
            Stage::Down => {
                "is still marked as applied, and what its `down` changed before it failed stays. Fix it, deploy, and roll it \
                 back again."
            }
            Stage::Unrecord => {
                "has run its `down`, but its marker may not be deleted. Unless the status says pending, roll it back again: \
                 its `down` runs again."
            }
        };
        let before = if self.report.rolled_back.is_empty() {
            ""
        } else {
            " Those registered after it are rolled back."
        };
        format!("`{}` {advice}{before}", self.id)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, reason, .. } = self;
        let (what, how) = match self.stage {
            Stage::Up => ("Migration", ""),
            Stage::Record => ("Migration", "it could not be marked as applied: "),
            Stage::Down => ("Rollback of migration", ""),
            Stage::Unrecord => ("Rollback of migration", "its marker could not be deleted: "),
        };
        write!(f, "{what} {id} failed: {how}{reason}")
    }
}

impl fmt::Display for ForeignMarker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, id, service, owner } = self;
        if owner.is_empty() {
            return write!(
                f,
                "The marker `{key}` names no service, and `{service}` does not register migration {id}: it may be \
                 another's. Nothing was changed. Register the migration to change what is recorded of it."
            );
        }
        write!(
            f,
            "The marker `{key}` of migration {id} of `{service}` belongs to the service `{owner}`: both have the same key. \
             Nothing was changed. Give the newer migration another id, or its service another prefix."
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registration(error) => write!(f, "The list of migrations is not valid: {error}"),
            Self::RunInProgress { .. } => f.write_str("Another run is in progress: nothing was done"),
            Self::Ledger(error) => {
                let what = match error.operation() {
                    Operation::Put | Operation::Delete => "The marker may not be written. Ask again",
                    _ => "The ledger could not be read, so nothing was changed",
                };
                write!(f, "{what}: {error}")
            }
            Self::LedgerTooLarge { prefix } => write!(
                f,
                "The ledger could not be read, so nothing was changed: more than 10,000 keys begin with `{prefix}`, and more \
                 than 100 registered migrations have keys that do not say `true`, or several are to be rolled back. Delete the \
                 keys that are no markers, and keep visitors from choosing such keys"
            ),
            Self::ForeignMarker(marker) => marker.fmt(f),
            Self::AnotherPrefix { service, other } => write!(
                f,
                "No migration has run under the prefix `{service}`, and all that ran under `{other}` are registered here, and \
                 would run again. Nothing was changed. If both are the same service, set the prefix back to `{other}`. If \
                 not, tell the runner: `.with_other_service({other:?})`"
            ),
            Self::UnknownMigration { id } => {
                write!(f, "Migration {id:?} is not registered")
            }
            Self::NotRun { id, action } => write!(f, "Migration {id} has not been run - cannot {action}"),
            Self::AlreadyApplied { id } => {
                write!(f, "Migration {id} is applied - cannot reset. Roll it back instead")
            }
            Self::Irreversible { id } => {
                write!(f, "Migration {id} does not implement down() - cannot rollback")
            }
            Self::NotRegistered { ids } => write!(
                f,
                "Applied or begun, and not registered: {}. Nothing tells in which order to roll back, so nothing was changed. \
                 Register them, or unmark or reset them, and roll back again",
                listed(ids)
            ),
            Self::RollbackUnfinished { to } => {
                let to = to.as_deref().unwrap_or("the start");
                write!(
                    f,
                    "A rollback to {to} is not finished, so that a number of steps would count from elsewhere. Nothing was \
                     changed. Roll back to {to} to finish it, or migrate to give it up"
                )
            }
            Self::Refused { reason, .. } => write!(f, "{reason}, and this service refuses to run then"),
            Self::NotABackfill { id } => write!(
                f,
                "Migration {id} is next, and no backfill to be applied: only of one can a few entries be changed, and the rest \
                 later"
            ),
            Self::Superseded { id, reason } => {
                write!(
                    f,
                    "This run lost its lease at migration {id}: it made no KV operation for 60 seconds. Another run may be in \
                     progress. What this run wrote stays. Check the status when no run is in progress"
                )?;
                reason
                    .as_ref()
                    .map_or(Ok(()), |reason| write!(f, ". The migration itself had failed: {reason}"))
            }
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

/// The same text: derived, every Worker with a long migration would carry it for all of a report.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
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
