//! What a release may say of what is applied.

use std::time::{Duration, SystemTime};

use kv_migrations::coordinator::{HistoryEntry, RunOutcome, TaskKind};

use crate::observations::Observations;
use crate::plan::Plan;
use crate::violation::{Check, violated};

/// KV's delay.
const MINUTE: Duration = Duration::from_mins(1);

/// The label under which a client of a release with this many migrations asks.
pub fn release_label(migrations: usize) -> String {
    format!("a client with {migrations} migrations")
}

/// Where a run or a status says that all is applied, all migrations of the release that was asked are: unless one was
/// rolled back meanwhile; without a coordinator, also within KV's delay before.
pub fn what_is_told_is_applied(
    observations: &Observations,
    plan: &Plan,
    release: usize,
    began: SystemTime,
) -> Check {
    if observations.was_damaged {
        // The marker of one may be gone that was there when the run began.
        return Ok(());
    }
    let since = if observations.is_coordinated { began } else { began - MINUTE };
    for (planned, record) in plan.migrations.iter().zip(&observations.migrations).take(release) {
        if !record.is_marked && record.unmarked_at.is_none_or(|unmarked_at| unmarked_at < since) {
            let text = format!(
                "a release with {release} migrations was told that all is applied, and {} is not",
                planned.id
            );
            return violated("what_is_told_is_applied", text);
        }
    }
    Ok(())
}

/// A run that has finished has applied what the release registers that asked for it, whichever release took its steps.
pub fn finished_runs_applied_what_was_asked_for(
    observations: &Observations,
    plan: &Plan,
    history: &[HistoryEntry],
) -> Check {
    let is_finished =
        |entry: &&HistoryEntry| entry.action == TaskKind::Migrate && entry.outcome == RunOutcome::Finished;
    for entry in history.iter().filter(is_finished) {
        let release = (0..=plan.migrations.len())
            .find(|release| entry.by.as_deref() == Some(release_label(*release).as_str()))
            .unwrap_or_default();
        for (planned, record) in plan.migrations.iter().zip(&observations.migrations).take(release) {
            // What was rolled back since was applied.
            if record.marked_at.is_none() {
                let text = format!(
                    "run {}, asked for with {release} migrations, finished, and {} was never applied",
                    entry.number, planned.id
                );
                return violated("finished_runs_applied_what_was_asked_for", text);
            }
        }
    }
    Ok(())
}
