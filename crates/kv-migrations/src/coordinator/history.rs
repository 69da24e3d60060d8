//! What an object has done: the last hundred runs and rollbacks.

use serde::{Deserialize, Serialize};

use super::task::{Action, Task};
use super::{Change, FailureRecordtempt, Intervention, Outcome, Storage, StorageError, ran, rows};

const ROWS: &str = "history/";
/// So many are kept.
const MOST: u64 = 100;
/// Of so many migrations each tells that it ran them.
const MOST_IDS: usize = 1_000;

/// A run or a rollback. One that found nothing to do is not kept.
///
/// As JSON, fields that do not apply are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct HistoryEntry {
    /// Its number, from 1.
    pub number: u64,
    /// `migrate` or `rollback`.
    pub action: String,
    /// Who asked for it, if they said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it was asked for: ISO 8601.
    pub started_at: String,
    /// When it ended: ISO 8601.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// How it ended, if it has.
    pub outcome: Outcome,
    /// The migration that it was at when it ended, unless it finished; for a rollback, the one that was rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<String>,
    /// What it applied, in order: at most the first 1,000.
    pub ran: Vec<String>,
    /// The steps that it took: each is one alarm.
    pub steps: u64,
    /// The time that these took, in milliseconds; not that between them.
    pub duration_ms: u64,
    /// The KV operations that they made; those of a step that was cut off are not known.
    pub operations: u64,
    /// How many steps failed.
    pub failed_attempts: u64,
    /// The first nine of them, and the last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<FailureRecordtempt>,
    /// Who paused, resumed or cancelled it: the first twenty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interventions: Vec<Intervention>,
}

impl HistoryEntry {
    pub(super) fn new(
        storage: &dyn Storage,
        task: &Task,
        outcome: Outcome,
        ended_at: Option<String>,
    ) -> Result<Self, StorageError> {
        let action = match task.action {
            Action::Migrate => "migrate",
            Action::Rollback { .. } => "rollback",
        };
        let is_finished_run = outcome == Outcome::Finished && task.action == Action::Migrate;
        let ran = ran::read(storage)?.into_iter().take(MOST_IDS).map(|detail| detail.id).collect();
        Ok(Self {
            number: task.number,
            action: action.to_owned(),
            by: task.by.clone(),
            started_at: task.since.clone(),
            ended_at,
            outcome,
            migration: task.migration.clone().filter(|_| !is_finished_run),
            ran,
            steps: task.steps,
            duration_ms: task.duration_ms,
            operations: task.operations,
            failed_attempts: task.failed_attempts,
            failures: task.failures.clone(),
            interventions: task.interventions.clone(),
        })
    }

    /// Whether there is something to tell: not of what found nothing to do, or was refused.
    fn is_worth_keeping(&self) -> bool {
        match self.outcome {
            Outcome::Finished => self.action == "rollback" || !self.ran.is_empty(),
            Outcome::Failed => self.failed_attempts > 0,
            _ => true,
        }
    }
}

/// The changes that keep it, and forget what is too old.
pub(super) fn keep(entry: &HistoryEntry, storage: &dyn Storage) -> Result<Vec<Change>, StorageError> {
    if !entry.is_worth_keeping() {
        return Ok(Vec::new());
    }
    let mut changes = vec![rows::put(format!("{ROWS}{:020}", entry.number), entry)];
    let names: Vec<String> = storage.list(ROWS)?.into_iter().map(|(name, _)| name).collect();
    let excess = (names.len() + 1).saturating_sub(usize::try_from(MOST).unwrap_or(usize::MAX));
    changes.extend(names.into_iter().take(excess).map(rows::delete));
    Ok(changes)
}

/// Those that are kept, the newest first.
pub(super) fn read(storage: &dyn Storage) -> Result<Vec<HistoryEntry>, StorageError> {
    let rows = storage.list(ROWS)?.into_iter().rev();
    rows.map(|(name, bytes)| rows::decode(&name, &bytes)).collect()
}
