//! What an object says of its runs.

use kv_migrations::coordinator::{HistoryEntry, RunOutcome, TaskKind};

use crate::observations::{AppliedRecord, Observations};
use crate::plan::Plan;
use crate::violation::{Check, violated};

/// How many runs and rollbacks an object remembers.
const MAX_ENTRIES: usize = 100;

/// Each run has what it applied, no less and no more; and if it failed, why. It may lack a migration that it applied just
/// when the object's storage failed, since that is written next.
pub fn the_history_is_complete(observations: &Observations, plan: &Plan, history: &[HistoryEntry]) -> Check {
    let wrong = |text: String| violated("the_history_is_complete", text);
    // A run that goes on comes first, even if something else was done at once while it was paused.
    let ended = usize::from(history.first().is_some_and(|entry| entry.ended_at.is_none()));
    let ended = history.get(ended..).unwrap_or_default();
    if let Some(pair) = ended.windows(2).find(|pair| pair[0].number <= pair[1].number) {
        return wrong(format!("run {} comes before run {}", pair[0].number, pair[1].number));
    }
    for entry in history {
        let number = entry.number;
        let id = |applied: &AppliedRecord| plan.migrations[applied.migration].id.as_str();
        let applied = || observations.applied.iter().filter(|applied| applied.run == number);
        let expected = applied()
            .filter(|applied| !applied.may_be_unrecorded || entry.ran.iter().any(|ran| ran == id(applied)));
        // A rollback names what it rolled back.
        if entry.action == TaskKind::Migrate && !entry.ran.iter().eq(expected.map(id)) {
            let applied: Vec<&str> = applied().map(id).collect();
            return wrong(format!("run {number} has {:?}, but applied {applied:?}", entry.ran));
        }
        let has_reasons = entry.failed_attempts > 0
            && !entry.failures.is_empty()
            && entry.failures.iter().all(|failure| !failure.error.is_empty());
        if entry.outcome == RunOutcome::Failed && !has_reasons {
            return wrong(format!("run {number} failed, and does not say why"));
        }
    }
    let oldest = history.last().filter(|_| history.len() >= MAX_ENTRIES).map_or(0, |entry| entry.number);
    let mut remembered =
        observations.applied.iter().filter(|applied| applied.run > oldest && !applied.may_be_unrecorded);
    match remembered.find(|applied| history.iter().all(|entry| entry.number != applied.run)) {
        Some(AppliedRecord { run, migration, .. }) => {
            wrong(format!("run {run} applied {}, and is missing", plan.migrations[*migration].id))
        }
        None => Ok(()),
    }
}
