//! What happens if every request is cut off.

use kv_migrations::coordinator::{HistoryEntry, RunOutcome};

use crate::plan::{Plan, Seal};
use crate::situation::RequestLimit;
use crate::violation::{Check, violated};

/// All is applied after a number of requests, unless they have no chance to get further.
pub fn worlds_whose_requests_are_cut_off_end(limit: RequestLimit, requests: usize) -> Check {
    if !limit.is_enough() {
        return Ok(());
    }
    let text = format!("not all is applied after {requests} requests, each cut off by {limit:?}");
    violated("worlds_whose_requests_are_cut_off_end", text)
}

/// A run of an object that fails says that its steps were cut off. A re-key that changes entries may give up before, if each
/// sweep was cut off between the record of a copy and the copy, where no request has a chance to get further.
pub fn runs_that_fail_say_why(plan: &Plan, limit: RequestLimit, history: &[HistoryEntry]) -> Check {
    let gives_up = !limit.is_enough() && plan.migrations.iter().any(|planned| planned.seal != Seal::None);
    for entry in history.iter().filter(|entry| entry.outcome == RunOutcome::Failed) {
        let last = entry.failures.last().map_or("", |failure| failure.error.as_str());
        if !(last.contains("was cut off") || gives_up && last.contains("entries change faster")) {
            let text = format!("run {}, whose steps are cut off, failed with `{last}`", entry.number);
            return violated("runs_that_fail_say_why", text);
        }
    }
    Ok(())
}
