//! What can be changed of what is recorded of a migration: pure.

use crate::error::Error;

/// A change of what is recorded of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Correction {
    /// [`Runner::reset`](crate::Runner::reset).
    Reset,
    /// [`Runner::mark`](crate::Runner::mark).
    Mark,
    /// [`Runner::unmark`](crate::Runner::unmark).
    Unmark,
}

impl Correction {
    /// Whether there is something to change. An error if that is refused. `is_known`: it is registered, or has a marker.
    pub(crate) fn is_needed(
        self,
        id: &str,
        is_known: bool,
        has_marker: bool,
        is_applied: bool,
    ) -> Result<bool, Error> {
        let id = id.to_owned();
        match self {
            _ if !is_known => Err(Error::UnknownMigration { id }),
            Self::Reset if is_applied => Err(Error::AlreadyApplied { id }),
            Self::Reset => Ok(has_marker),
            Self::Unmark if !is_applied => Err(Error::NotRun { id, action: "unmark" }),
            Self::Unmark => Ok(true),
            Self::Mark => Ok(!is_applied),
        }
    }

    /// The line for the log.
    pub(crate) fn line(self, id: &str, by: Option<&str>) -> String {
        let what = match self {
            Self::Reset => "Reset",
            Self::Mark => "Marked as applied, without running it:",
            Self::Unmark => "Unmarked, without rolling it back:",
        };
        format!("[Migration] {what} {id}, as {} asked", by.unwrap_or("somebody"))
    }
}
