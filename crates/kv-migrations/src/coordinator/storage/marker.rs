//! What a row keeps of a marker beside its value: pure.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::clock::{milliseconds, parse_iso8601};
use crate::kv::{Entry, Fields, Metadata};
use crate::ledger::{APPLIED, holds_checkpoint};

/// A marker without its value. The row stays when the marker is deleted.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct MarkerRow {
    pub(super) exists: bool,
    /// JSON.
    pub(super) metadata: Option<String>,
    /// Whether the value says that the migration is applied.
    is_applied: bool,
    /// When the migration was last applied and then not any more, in milliseconds since 1970. KV may show it as applied
    /// for a while after that.
    undone: Option<u64>,
    /// One more for each time that the marker was written.
    pub(super) revision: u64,
}

impl MarkerRow {
    /// The row after this one, once the marker is written so, or deleted.
    pub(super) fn next(&self, entry: Option<&Entry>, now: SystemTime) -> Self {
        let is_applied = is_applied(entry);
        let is_undone = self.is_applied && !is_applied;
        let metadata = entry.and_then(|entry| entry.metadata.as_ref());
        Self {
            exists: entry.is_some(),
            metadata: metadata.map(|metadata| metadata.as_json().to_owned()),
            is_applied,
            undone: if is_undone { Some(self.undone_at(now)) } else { self.undone },
            revision: self.revision.wrapping_add(1),
        }
    }

    /// Whether KV tells something new by showing the migration as applied at this time. A marker that was undone since
    /// is not news.
    pub(crate) fn is_news(&self, run_at: Option<&str>) -> bool {
        let applied = run_at.and_then(parse_iso8601).map(milliseconds);
        let is_later = |undone| applied.is_some_and(|applied| applied > undone);
        !self.is_applied && self.undone.is_none_or(is_later)
    }

    /// Whether there is a marker. The row stays when it is deleted.
    pub(crate) fn exists(&self) -> bool {
        self.exists
    }

    /// Whether the migration is applied.
    pub(crate) fn is_applied(&self) -> bool {
        self.is_applied
    }

    /// Whether there is something to roll back.
    pub(crate) fn can_be_undone(&self) -> bool {
        self.is_applied || self.holds_checkpoint()
    }

    pub(super) fn holds_checkpoint(&self) -> bool {
        let metadata = self.metadata.as_ref().filter(|_| self.exists);
        metadata.is_some_and(|metadata| holds_checkpoint(&Metadata::from_json(metadata)))
    }

    /// Now, but not before the migration was applied: another instance, with another clock, may have applied it.
    fn undone_at(&self, now: SystemTime) -> u64 {
        let metadata = self.metadata.as_ref().map(Metadata::from_json);
        let run_at = metadata.and_then(|metadata| Fields::parse(&metadata).text("runAt"));
        let applied = run_at.as_deref().and_then(parse_iso8601).map(milliseconds);
        let now = milliseconds(now);
        applied.map_or(now, |applied| now.max(applied))
    }
}

/// Whether a marker says that its migration is applied.
pub(super) fn is_applied(entry: Option<&Entry>) -> bool {
    entry.is_some_and(|entry| entry.value == APPLIED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(run_at: &str) -> Entry {
        let metadata = Metadata::from_json(format!(r#"{{"runAt":"{run_at}"}}"#));
        Entry::new(APPLIED).with_metadata(metadata)
    }

    /// The instance that applied it had a clock that was ahead of that of the instance that rolls it back.
    #[test]
    fn a_marker_that_was_undone_is_no_news_whatever_the_clocks_say() {
        let now = parse_iso8601("2026-11-22T10:48:28.000Z").expect("it is a time");
        let row = MarkerRow::default().next(Some(&applied("2026-11-22T10:48:40.000Z")), now).next(None, now);
        assert!(!row.is_news(Some("2026-11-22T10:48:40.000Z")), "KV may show it for a while");
        assert!(row.is_news(Some("2026-11-22T10:48:41.000Z")), "it was applied again since");
    }

    #[test]
    fn only_a_marker_of_an_applied_or_a_begun_migration_can_be_undone() {
        let now = SystemTime::UNIX_EPOCH;
        let with = |metadata: &str| Entry::new("x").with_metadata(Metadata::from_json(metadata));
        let situations = [
            (None, false),
            (Some(applied("2026-11-22T10:48:40.000Z")), true),
            (Some(with(r#"{"failedAt":"2026-11-22T10:48:40.000Z"}"#)), false),
            (Some(with(r#"{"checkpointAt":"2026-11-22T10:48:40.000Z"}"#)), true),
        ];
        for (entry, expected) in situations {
            let row = MarkerRow::default().next(entry.as_ref(), now);
            assert_eq!(row.can_be_undone(), expected, "{entry:?}");
            assert!(!row.next(None, now).can_be_undone(), "it was deleted: {entry:?}");
        }
    }
}
