//! What kind of change a migration makes.

use serde::{Deserialize, Serialize};

/// What kind of change the `up` of a migration makes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum MigrationKind {
    /// A closure, which runs in one request.
    #[default]
    Plain,
    /// A [`Backfill`](crate::Backfill).
    Backfill,
    /// A [`Fold`](crate::Fold).
    Fold,
    /// A [`Rekey`](crate::Rekey).
    Rekey,
}
