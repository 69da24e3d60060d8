//! What callers are told about runs and rollbacks: data only, written as JSON in answers and read back by clients.

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::clock::iso8601;
use crate::report::{AppliedMigration, Progress};

/// A run, a rollback, or a change of what is recorded, as the history keeps it.
///
/// As JSON, fields that do not apply are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct HistoryEntry {
    /// Its number, from 1.
    pub number: u64,
    /// What was done.
    pub action: TaskKind,
    /// Who asked for it, if they said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it was asked for: ISO 8601.
    pub started_at: String,
    /// When it ended: ISO 8601. `None` if it has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// How it ended, or how it stands.
    pub outcome: RunOutcome,
    /// The migration that it is at, or was at when it ended. `None` for a run, or a rollback of several, that finished. For
    /// anything else, its migration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<String>,
    /// The last migration that it was to apply, if that was not the last one that is registered. Of a rollback of several the
    /// last that was to stay, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// How many entries of one migration it was to change at most, if it was a run of a few entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// The migrations that it applied, in order: at most the first 1,000. Of a baseline, those that it marked; of a rollback of
    /// several, those that it rolled back.
    pub ran: Vec<String>,
    /// What it did to entries: those of `ran` that are backfills, folds or re-keys; for a rollback, the one. The history
    /// lists 1,000 skipped entries, those of the newest first, and counts the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<AppliedMigration>,
    /// Those of `ran` that are registered before one that was applied already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub out_of_order: Vec<String>,
    /// As in [`RunReport::missing`](crate::RunReport::missing), when it ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// As in [`RunReport::unfinished`](crate::RunReport::unfinished), when it ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unfinished: Vec<String>,
    /// What looks like a mistake, as in [`RunReport::warnings`](crate::RunReport::warnings).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The number of its steps. Each step is one alarm.
    pub steps: u64,
    /// How long its steps took, in milliseconds, without the time between them.
    pub duration_ms: u64,
    /// The KV operations of its steps, without those of steps that were cut off.
    pub operations: u64,
    /// How many steps failed.
    pub failed_attempts: u64,
    /// The first nine failures and the last one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<FailedAttempt>,
    /// Who intervened: the first twenty interventions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interventions: Vec<Intervention>,
    /// How many other callers waited for the run to begin, and shared it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub joined: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl HistoryEntry {
    pub(super) fn of_correction(
        number: u64,
        action: TaskKind,
        id: &str,
        by: Option<String>,
        now: SystemTime,
    ) -> Self {
        let at = iso8601(now);
        Self {
            number,
            action,
            by,
            started_at: at.clone(),
            ended_at: Some(at),
            outcome: RunOutcome::Finished,
            migration: Some(id.to_owned()),
            to: None,
            entries: None,
            ran: Vec::new(),
            details: Vec::new(),
            out_of_order: Vec::new(),
            missing: Vec::new(),
            unfinished: Vec::new(),
            warnings: Vec::new(),
            steps: 0,
            duration_ms: 0,
            operations: 0,
            failed_attempts: 0,
            failures: Vec::new(),
            interventions: Vec::new(),
            joined: 0,
        }
    }
}

/// What a coordinator is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum TaskKind {
    /// A run of what is not applied.
    Migrate,
    /// A rollback of one migration, or of several.
    Rollback,
    /// A reset of one migration, which is done at once.
    Reset,
    /// One migration was marked as applied without running it, which is done at once.
    Mark,
    /// All migrations up to one were marked as applied without running them, which is done at once.
    Baseline,
    /// One migration was unmarked without rolling it back, which is done at once.
    Unmark,
}

/// How a run or a rollback stands, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RunOutcome {
    /// It continues.
    Running,
    /// It waits to be resumed.
    Paused,
    /// It did everything that there was to do.
    Finished,
    /// Nothing is left to do, but the migration that it was at was taken off the list half made. Or it waited for KV's daily
    /// quota, and another run took its place.
    Unfinished,
    /// It failed: in its first step, or after its last retry.
    Failed,
    /// It was cancelled.
    Cancelled,
}

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FailedAttempt {
    /// When: ISO 8601.
    pub at: String,
    /// Why: at most 2,000 bytes of the error.
    pub error: String,
}

/// Something that a caller asked of a run in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Intervention {
    /// When: ISO 8601.
    pub at: String,
    /// What was asked for.
    pub action: InterventionKind,
    /// Who asked for it, if they said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What can be asked of a run in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum InterventionKind {
    /// To pause it.
    Pause,
    /// To resume it.
    Resume,
    /// To cancel it.
    Cancel,
    /// To reset the migration that it is at, which cancels it.
    Reset,
    /// To mark the migration that it is at as applied, which cancels it.
    Mark,
    /// To unmark the migration that it is at, which cancels it.
    Unmark,
}

/// The run or the rollback in progress, or the one that is paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Activity {
    /// Who asked for it, if they said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it was asked for: ISO 8601.
    pub since: String,
    /// The migration that it is at, once it is at one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<String>,
    /// How far that migration has got, if it takes more than one step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
