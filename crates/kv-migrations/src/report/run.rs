//! What a run or a rollback did.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::skip::{is_false, is_zero};
use super::{EntryCounts, Progress};
use crate::text::shortened;

/// What a run did, or a rollback of several migrations.
///
/// As JSON it has the fields of the TypeScript runner (`ran`, `skipped`) and more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RunReport {
    /// The migrations that this run applied, in order.
    pub ran: Vec<String>,
    /// The migrations that were applied already.
    pub skipped: Vec<String>,
    /// The migrations that a [baseline](crate::Runner::baseline) recorded as applied, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marked: Vec<String>,
    /// The migrations that a [rollback of several](crate::Runner::rollback_until) rolled back, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rolled_back: Vec<String>,
    /// What each of `ran`, or of `rolled_back`, took.
    pub details: Vec<AppliedMigration>,
    /// Those of `ran` that are registered before one of `skipped`: they ran later than their place says.
    pub out_of_order: Vec<String>,
    /// Migrations that are applied for this service but not registered. Only markers that this runner wrote are known
    /// to belong to the service.
    pub missing: Vec<String>,
    /// Migrations that have begun for this service, are not applied, and are not registered: taken off the list half made.
    /// What they wrote stays.
    #[serde(default)]
    pub unfinished: Vec<String>,
    /// Whether `missing` and `unfinished` are not known, and therefore empty: more than 10,000 keys begin like markers of
    /// this service, so that only those of the registered migrations were read.
    #[serde(default, skip_serializing_if = "is_false")]
    pub missing_unknown: bool,
    /// Those of `skipped` that are applied in another [revision](crate::Migration::revision) than is registered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revised: Vec<String>,
    /// What looks like a mistake, for people: a migration of `ran` that found no entry, or moved none.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// All KV operations of the run: those of migrations, and those that read and write the ledger.
    pub operations: u64,
    /// The migrations that were asked for and are still to be applied, or rolled back, because the [`Budget`](crate::Budget) is
    /// used up. The next run begins with the first of them. Empty if the run finished.
    pub remaining: Vec<String>,
    /// The migrations that are still to be applied and were not asked for: see [`Until`](crate::Until).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beyond: Vec<String>,
    /// The last migration that was asked for, if that is not the last one that is registered: also if a number of
    /// [`Steps`](crate::Until::Steps) was asked for. To continue, ask for a run [to it](crate::Until::Migration): the same number
    /// of steps would be others. Of a rollback the last that stays, if not all are rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The request that continues the run, a path below the routes' own: only in answers of the routes, where something remains
    /// and `to` is given, or several are rolled back.
    #[serde(default, rename = "continue", skip_serializing_if = "Option::is_none")]
    pub continue_with: Option<String>,
    /// What became of the entries, if a number of [`Entries`](crate::Until::Entries) was asked for: those of this run alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<EntryCounts>,
    /// How far the first of `remaining` has got, if it has begun. Where a number of entries was asked for, how far their
    /// migration has got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Box<Progress>>,
    /// Whether something remains because KV's daily quota is used up: the next run before 00:00 UTC gets no further.
    #[serde(default, skip_serializing_if = "is_false")]
    pub quota_exhausted: bool,
    /// How long to wait before the next run, if anything remains. Not part of the JSON.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

impl RunReport {
    /// Returns whether every migration is applied, or rolled back, that was asked for.
    pub fn is_finished(&self) -> bool {
        self.remaining.is_empty()
    }
}

/// A migration that a run applied, and what that took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AppliedMigration {
    /// The migration.
    pub id: String,
    /// How long its `up` took, in milliseconds.
    pub duration_ms: u64,
    /// How many KV operations it made.
    pub operations: u64,
    /// How many entries it met, if it is a backfill, a fold or a re-key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<EntryCounts>,
    /// The entries that were skipped because they failed or collided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_entries: Vec<FailedEntry>,
    /// How many more there were than `failed_entries` has: only in the history of a coordinator.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_failed_entries: u64,
    /// How many keys it left out because they begin like markers, or [`UNKNOWN`](Self::UNKNOWN). Only a warning tells it.
    #[serde(skip)]
    pub(crate) left_out: u64,
}

impl AppliedMigration {
    /// KV did not tell what was left out.
    pub(crate) const UNKNOWN: u64 = u64::MAX;

    /// What looks like a mistake. The migration is applied all the same: there may be nothing to do.
    pub(crate) fn warning(&self) -> Option<String> {
        let Self { id, left_out, .. } = self;
        let number = match *left_out {
            0 => return self.warning_of_counts(),
            Self::UNKNOWN => "all".to_owned(),
            number => number.to_string(),
        };
        let counts = self.warning_of_counts().map(|warning| format!("{warning}. ")).unwrap_or_default();
        Some(format!(
            "{counts}Migration {id} left out {number} keys that begin with `migration_` and may be markers. If \
             some are data, change them by a migration over their own prefix, such as `migration_notes_`"
        ))
    }

    fn warning_of_counts(&self) -> Option<String> {
        let Self { id, entries, .. } = self;
        match (*entries)? {
            EntryCounts { seen: 0, .. } => Some(format!(
                "Migration {id} is applied, but found no entry. If there should be some, check its prefix, and roll it back or \
                 register it under another id"
            )),
            EntryCounts { seen, changed: 0, moved: 0, left: 1.. } => Some(format!(
                "Migration {id} is applied, but left all of the {seen} entries that it found as they are. If it should not, \
                 check what it does, and roll it back or register it under another id"
            )),
            _ => None,
        }
    }
}

/// An entry that was skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FailedEntry {
    /// Its key.
    pub key: String,
    /// Why: at most 200 bytes of the error, its start and its end.
    pub reason: String,
}

impl FailedEntry {
    /// With a reason of at most 200 bytes, as one of many entries has it.
    pub(crate) fn shortened(self) -> Self {
        Self { reason: shortened(self.reason), ..self }
    }
}

/// What a rollback did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RollbackReport {
    /// The migration that is rolled back. `None` if its `down` is not finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<String>,
    /// How long its `down` took, in milliseconds.
    pub duration_ms: u64,
    /// All KV operations, those on the ledger included.
    pub operations: u64,
    /// How many entries its `down` met, if that is a backfill's or a re-key's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<EntryCounts>,
    /// The entries that were skipped because they failed or collided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_entries: Vec<FailedEntry>,
    /// How far its `down` has got, if it is not finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Box<Progress>>,
    /// Whether it is not finished because KV's daily quota is used up: a call before 00:00 UTC gets no further.
    #[serde(default, skip_serializing_if = "is_false")]
    pub quota_exhausted: bool,
    /// How long to wait before the rollback is called again. Not part of the JSON.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

impl RollbackReport {
    /// Returns whether the migration is rolled back, so that nothing is left to do.
    pub fn is_finished(&self) -> bool {
        self.rolled_back.is_some()
    }
}
