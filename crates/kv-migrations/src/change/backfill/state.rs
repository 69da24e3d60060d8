//! What a checkpoint of a backfill keeps, and the texts about entries that failed.

use serde::{Deserialize, Serialize};

use crate::change::walk::Position;
use crate::report::FailedEntry;

/// What a checkpoint keeps.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct BackfillState {
    pub(super) phase: BackfillPhase,
    pub(super) position: Position,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) failures: Vec<FailedEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) to_retry: Vec<FailedEntry>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum BackfillPhase {
    Count,
    #[default]
    Entries,
    Retry,
}

/// The error for one entry more than may be skipped.
pub(super) fn first_failure(failed: &FailedEntry, skipped: usize) -> String {
    let FailedEntry { key, reason } = failed;
    match skipped {
        0 => format!("at the entry `{key}`: {reason}"),
        _ => format!("at the entry `{key}`, after {skipped} others that were skipped: {reason}"),
    }
}

/// Which entries failed; the first ones by name.
pub(super) fn failures_text(failures: &[FailedEntry]) -> String {
    const MAX_NAMED: usize = 10;
    let number = failures.len();
    let named = failures.iter().take(MAX_NAMED).map(|failed| format!("`{}`: {}", failed.key, failed.reason));
    let named: Vec<String> = named.collect();
    let more = if number > MAX_NAMED { format!("; and {} more", number - MAX_NAMED) } else { String::new() };
    format!(
        "{number} of the entries failed and were skipped: {}{more}. All other entries are done; the next run tries these \
         again",
        named.join("; ")
    )
}
