//! What happens if every request is cut off.

use kv_migrations::coordinator::{HistoryEntry, RunOutcome};

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

/// A run of an object that fails says that its steps were cut off.
pub fn runs_that_fail_say_why(history: &[HistoryEntry]) -> Check {
    for entry in history.iter().filter(|entry| entry.outcome == RunOutcome::Failed) {
        let last = entry.failures.last().map_or("", |failure| failure.error.as_str());
        if !last.contains("was cut off") {
            let text = format!("run {}, whose steps are cut off, failed with `{last}`", entry.number);
            return violated("runs_that_fail_say_why", text);
        }
    }
    Ok(())
}
