//! What a run would do.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Status;
use super::skip::is_false;

/// What a run would do now. Nothing was changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PlanReport {
    /// The migrations that the run would apply, in order. The [progress](Status::progress) of one that has begun says where
    /// it would resume, if that is [`Up`](crate::Direction::Up); else its `up` starts over.
    pub steps: Vec<Status>,
    /// As in [`RunReport::beyond`](crate::RunReport::beyond).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beyond: Vec<String>,
    /// As in [`RunReport::to`](crate::RunReport::to).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// What looks like a mistake. None of it stops the run but [`AnotherPrefix`](FindingKind::AnotherPrefix).
    pub findings: Vec<Finding>,
    /// As in [`RunReport::missing_unknown`](crate::RunReport::missing_unknown).
    #[serde(default, skip_serializing_if = "is_false")]
    pub missing_unknown: bool,
    /// What the caller may do, `read` or `full`: only in answers of the routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<String>,
}

impl PlanReport {
    /// With the status of its steps: of those that are not applied, the first, but for those beyond.
    pub(crate) fn with_steps(mut self, migrations: Vec<Status>) -> Self {
        for status in migrations {
            if !status.run && self.beyond.first() == Some(&status.id) {
                break;
            }
            if !status.run {
                self.steps.push(status);
            }
        }
        self
    }
}

/// Something that looks like a mistake before a run. Its text is for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// What it is.
    #[serde(rename = "finding")]
    pub kind: FindingKind,
    /// The migration; of [`AnotherPrefix`](FindingKind::AnotherPrefix), the other prefix.
    pub id: String,
    /// The other migration, of [`LookAlike`](FindingKind::LookAlike).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<String>,
}

/// What looks like a mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FindingKind {
    /// A migration is applied and not registered: removed from the list, or of a later release.
    Missing,
    /// A migration has begun, is not applied, and is not registered: taken off the list half made.
    Unfinished,
    /// A migration that the run would apply is registered before one that is applied.
    OutOfOrder,
    /// The id of a migration that the run would apply looks like that of one that is applied. If it was renamed, it would run
    /// twice.
    LookAlike,
    /// A migration is applied in another [revision](crate::Migration::revision) than is registered.
    Revised,
    /// Nothing is applied under this service's prefix, and all that is applied under another one is registered here. A run is
    /// refused: see [`Runner::with_other_service`](crate::Runner::with_other_service).
    AnotherPrefix,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let other = self.other.as_deref().unwrap_or_default();
        let (what, other) = match self.kind {
            FindingKind::Missing => ("is applied and not registered", ""),
            FindingKind::Unfinished => ("has begun and is not registered", ""),
            FindingKind::OutOfOrder => ("is registered before one that is applied", ""),
            FindingKind::LookAlike => ("has an id that looks like one that is applied: ", other),
            FindingKind::Revised => ("is applied in another revision than is registered", ""),
            FindingKind::AnotherPrefix => ("is the prefix under which all of this is applied", ""),
        };
        write!(f, "{} {what}{other}", self.id)
    }
}
