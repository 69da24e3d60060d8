//! What happens during a run, as it happens.

use serde::Serialize;

use crate::progress::Progress;
use crate::report::Detail;

/// One thing that happened. As JSON it is an object whose `event` says what.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "camelCase")]
#[non_exhaustive]
pub enum Event<'a> {
    /// A migration is begun, or carried on.
    #[non_exhaustive]
    Started {
        /// The migration.
        id: &'a str,
        /// What it does.
        description: &'a str,
    },
    /// A migration that takes more than one request has got this far: at most once a second.
    #[non_exhaustive]
    Progress {
        /// The migration.
        id: &'a str,
        /// How far.
        progress: &'a Progress,
    },
    /// A migration is applied, and recorded as such.
    Applied(&'a Detail),
    /// A migration is not finished: the next run carries on.
    #[non_exhaustive]
    Paused {
        /// The migration.
        id: &'a str,
    },
    /// A migration failed.
    #[non_exhaustive]
    Failed {
        /// The migration.
        id: &'a str,
        /// Why.
        error: &'a str,
    },
}

/// Who is told what happens.
pub(crate) type Observer<'a> = dyn Fn(Event<'_>) + 'a;
