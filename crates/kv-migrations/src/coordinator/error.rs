//! Why a coordinator refuses something, or how a run of it failed.

use std::fmt;

use serde::Serialize;

use super::StorageError;
use crate::error::Error;
use crate::report::Progress;

/// Why nothing more was done. The text says what to do next.
#[derive(Debug)]
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
    /// there is. What had been recorded before stays.
    #[non_exhaustive]
    CutOff {
        /// The migration that it was at, if it was at one.
        id: Option<String>,
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
    /// What migrations get as context could not be made: why. Nothing was changed.
    Context(String),
    /// The object's storage failed. What had been recorded before stays.
    Storage(StorageError),
}

/// What a coordinator is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Activity {
    /// Who asked for it, if they said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it began: ISO 8601.
    pub since: String,
    /// The migration that it is at, once it is at one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migration: Option<String>,
    /// How far that has got, if it takes more than one step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Box<Progress>>,
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "since {}", self.since)?;
        if let Some(by) = &self.by {
            write!(f, ", by {by:?}")?;
        }
        if let Some(migration) = &self.migration {
            write!(f, ", at migration {migration}")?;
        }
        Ok(())
    }
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
            Self::CutOff { id } => {
                let at = id.as_ref().map_or_else(String::new, |id| format!(" at migration {id}"));
                write!(
                    f,
                    "The run was cut off{at} five times in a row, and is not tried again: it may panic, or take more \
                     memory or CPU time than there is. Fix it, deploy, and migrate again"
                )
            }
            Self::NotRunning { id } => {
                write!(f, "No run is at migration {id}: there is nothing to pause or to cancel")
            }
            Self::NotPaused { id } => write!(f, "Migration {id} is not paused: there is nothing to resume"),
            Self::NotResumable { id } => write!(
                f,
                "Migration {id} runs in one piece and cannot be stopped in the middle: only a backfill, a fold or a \
                 re-key can"
            ),
            Self::UnknownMigration { id } => write!(f, "Migration {id:?} is not registered"),
            Self::Context(reason) => write!(f, "The context of the migrations could not be made: {reason}"),
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
