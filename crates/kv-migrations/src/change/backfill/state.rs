//! What a checkpoint of a backfill keeps, and the texts about entries that failed.

use serde::{Deserialize, Serialize};

use crate::change::count::Until;
use crate::change::walk::Position;
use crate::report::FailedEntry;

/// What a checkpoint keeps.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct BackfillState {
    pub(super) until: Until,
    pub(super) position: Position,
    /// All entries up to this one may have begun, those after the position too.
    pub(super) begun: Option<String>,
    /// Whether all entries were visited. Then what an earlier request skipped is tried once more.
    pub(super) is_visited: bool,
    /// The entries that failed and were skipped, in the order in which that was noted.
    pub(super) failures: Vec<FailedEntry>,
    /// The entries that failed again when they were tried once more.
    pub(super) confirmed: Vec<FailedEntry>,
    /// The entries that failed and are tried again before anything else is done, the next one last.
    pub(super) to_retry: Vec<FailedEntry>,
}

impl BackfillState {
    /// Notes up to which entry all have begun: in this request or in one before it.
    pub(super) fn note_begun(&mut self, now: Option<&str>, before: Option<&str>) {
        let position = self.position.after();
        match now.max(before).filter(|begun| position.is_none_or(|position| position < *begun)) {
            None => self.begun = None,
            Some(begun) => begun.clone_into(self.begun.get_or_insert_default()),
        }
    }

    /// The number of entries that failed, as far as is known.
    pub(super) fn failed(&self) -> usize {
        self.skipped() + self.to_retry.len()
    }

    /// The number of entries that failed and are not tried again for the time being.
    pub(super) fn skipped(&self) -> usize {
        self.failures.len() + self.confirmed.len()
    }

    /// Notes an entry that failed.
    pub(super) fn skip(&mut self, failed: FailedEntry) {
        let failures = if self.is_visited { &mut self.confirmed } else { &mut self.failures };
        failures.push(failed.shortened());
    }

    /// Makes the first failures, this many, be tried again.
    pub(super) fn retry(&mut self, number: usize) {
        let again = self.failures.drain(..number.min(self.failures.len()));
        self.to_retry.splice(0..0, again.rev());
    }

    /// Makes all that failed be tried again: the next run may have other code.
    pub(super) fn retry_all(&mut self) {
        self.failures.append(&mut self.confirmed);
        self.retry(self.failures.len());
    }

    /// All that failed, in the order of the keys.
    pub(super) fn take_failures(&mut self) -> Vec<FailedEntry> {
        let noted = std::mem::take(&mut self.failures).into_iter().chain(std::mem::take(&mut self.confirmed));
        let mut all: Vec<FailedEntry> = Vec::new();
        for failed in noted {
            // They are noted nearly in this order, and are few. A sort would add 2 kB of WebAssembly.
            let before = all.iter().rposition(|one| one.key <= failed.key).map_or(0, |last| last + 1);
            all.insert(before, failed);
        }
        all
    }
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
