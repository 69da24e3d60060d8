//! What an object tells of its runs.

use kv_migrations::coordinator::{HistoryEntry, RunOutcome};

use super::{Verdict, violated};
use crate::plan::Plan;
use crate::seen::{Applied, Seen};

/// So many runs and rollbacks are kept.
const MOST: usize = 100;

/// Each run tells what it applied, no less and no more; and if it failed, why. (It may lack what it applied just when
/// the object's storage failed, since that it did is the next row to be written.)
pub fn the_history_is_true(seen: &Seen, plan: &Plan, history: &[HistoryEntry]) -> Verdict {
    let wrong = |text: String| violated("the_history_is_true", text);
    if let Some(pair) = history.windows(2).find(|pair| pair[0].number <= pair[1].number) {
        return wrong(format!("run {} stands before run {}", pair[0].number, pair[1].number));
    }
    for entry in history {
        let number = entry.number;
        let id = |applied: &Applied| plan.migrations[applied.migration].id.as_str();
        let applied = || seen.applied.iter().filter(|applied| applied.run == number);
        let told = applied()
            .filter(|applied| !applied.may_be_untold || entry.ran.iter().any(|ran| ran == id(applied)));
        if !entry.ran.iter().eq(told.map(id)) {
            let applied: Vec<&str> = applied().map(id).collect();
            return wrong(format!("run {number} tells that it ran {:?}, but applied {applied:?}", entry.ran));
        }
        let has_failures =
            entry.failed_attempts > 0 && entry.failures.iter().all(|failure| !failure.error.is_empty());
        if entry.outcome == RunOutcome::Failed && (entry.failures.is_empty() || !has_failures) {
            return wrong(format!("run {number} failed, and does not tell why"));
        }
    }
    let oldest = history.last().filter(|_| history.len() >= MOST).map_or(0, |entry| entry.number);
    let is_told = |number: u64| history.iter().any(|entry| entry.number == number);
    let mut to_be_told = seen.applied.iter().filter(|applied| applied.run > oldest && !applied.may_be_untold);
    match to_be_told.find(|applied| !is_told(applied.run)) {
        Some(Applied { run, migration, .. }) => {
            wrong(format!("run {run} applied {}, and is not told of", plan.migrations[*migration].id))
        }
        None => Ok(()),
    }
}
