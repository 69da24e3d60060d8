//! What happens during a run, while it happens.

use serde::{Deserialize, Serialize};

use super::{AppliedMigration, Progress};

/// One thing that happened. As JSON it is an object whose field `event` names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase")]
#[non_exhaustive]
pub enum Event {
    /// A migration begins or resumes.
    #[non_exhaustive]
    Started {
        /// The migration.
        id: String,
        /// What it does; may be empty.
        description: String,
    },
    /// A long migration has got this far. At most one a second.
    #[non_exhaustive]
    Progress {
        /// The migration.
        id: String,
        /// How far.
        progress: Box<Progress>,
    },
    /// A migration is applied, and recorded as such.
    Applied(AppliedMigration),
    /// A migration is not finished: the next run resumes it.
    #[non_exhaustive]
    Paused {
        /// The migration.
        id: String,
    },
    /// A migration failed.
    #[non_exhaustive]
    Failed {
        /// The migration.
        id: String,
        /// Why.
        error: String,
    },
}

/// Receives the events of a run.
pub(crate) type Observer<'a> = dyn Fn(&Event) + 'a;
