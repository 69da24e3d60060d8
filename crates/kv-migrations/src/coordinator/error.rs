//! What a coordinator fails with.

use std::fmt;

use super::report::Activity;
use super::storage::StorageError;
use crate::error::Error;
use crate::report::RunReport;
use crate::text::listed;

/// Why a coordinator refuses a request, or how a run of it failed. The text says what to do next.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum CoordinatorError {
    /// The run itself failed, as a run without a coordinator does.
    Runner(Error),
    /// Another run is in progress. Nothing was changed.
    InProgress(Box<Activity>),
    /// Another run is paused. Nothing was changed.
    Paused(Box<Activity>),
    /// The run was cancelled while its caller waited for it.
    #[non_exhaustive]
    Cancelled {
        /// The migration that it was at, if it was at one.
        id: Option<String>,
    },
    /// A step of the run was cut off five times in a row: by a panic, or because it takes more memory or CPU time than
    /// there is. What was recorded before stays.
    #[non_exhaustive]
    CutOff {
        /// The migration that it was at, if it was at one.
        id: Option<String>,
        /// Whether it was a run of a few entries, which is never taken up again.
        is_one_step: bool,
    },
    /// The release that took the last step does not register all migrations that were asked for. Those that it registers
    /// are applied.
    #[non_exhaustive]
    AnotherRelease {
        /// The migrations that it does not register.
        ids: Vec<String>,
        /// What the run did.
        report: Box<RunReport>,
    },
    /// No run is at this migration, so that it cannot be paused or cancelled. Nothing was changed.
    #[non_exhaustive]
    NotRunning {
        /// The migration.
        id: String,
    },
    /// This migration is not paused, so that it cannot be resumed. Nothing was changed.
    #[non_exhaustive]
    NotPaused {
        /// The migration.
        id: String,
    },
    /// This migration runs in one piece, so that it cannot be stopped in the middle. Nothing was changed.
    #[non_exhaustive]
    NotResumable {
        /// The migration.
        id: String,
    },
    /// No registered migration has this id. Nothing was changed.
    #[non_exhaustive]
    UnknownMigration {
        /// The id.
        id: String,
    },
    /// The context of the migrations could not be made, for this reason. Nothing was changed.
    Context(String),
    /// The object's storage failed. What was recorded before stays.
    Storage(StorageError),
}

impl fmt::Display for CoordinatorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runner(error) => error.fmt(f),
            Self::InProgress(activity) => {
                write!(f, "Another run is in progress ({activity}): nothing was done")
            }
            Self::Paused(activity) => {
                write!(f, "A run is paused ({activity}): nothing was done. Resume or cancel it first")
            }
            Self::Cancelled { id: Some(id) } => write!(f, "The run was cancelled at migration {id}"),
            Self::Cancelled { id: None } => f.write_str("The run was cancelled"),
            Self::CutOff { id, is_one_step } => {
                let at = id.as_ref().map_or_else(String::new, |id| format!(" at migration {id}"));
                let times = if *is_one_step { "" } else { " five times in a row" };
                write!(
                    f,
                    "The run was cut off{at}{times} and is not retried: it may panic, or take more memory \
                     or CPU time than there is. Fix it, deploy, and migrate again"
                )
            }
            Self::AnotherRelease { ids, .. } => write!(
                f,
                "The run is not finished: it was asked for with {}, which this release does not register. What it \
                 registers is applied. Deploy a release with all of them, and migrate again",
                listed(ids)
            ),
            Self::NotRunning { id } => {
                write!(f, "No run is at migration {id}: there is nothing to pause or cancel")
            }
            Self::NotPaused { id } => write!(f, "Migration {id} is not paused: there is nothing to resume"),
            Self::NotResumable { id } => write!(
                f,
                "Migration {id} runs in one piece and cannot be stopped in the middle: only a backfill, a fold or a \
                 re-key can"
            ),
            Self::UnknownMigration { id } => write!(f, "Migration {id:?} is not registered"),
            Self::Context(reason) => {
                write!(
                    f,
                    "The context of the migrations could not be made, so this step changed nothing: {reason}"
                )
            }
            Self::Storage(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CoordinatorError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Runner(error) => Some(error),
            Self::Storage(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Error> for CoordinatorError {
    fn from(error: Error) -> Self {
        Self::Runner(error)
    }
}

impl From<StorageError> for CoordinatorError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}
