//! How far a migration that takes more than one request has got.

use serde::{Deserialize, Serialize, Serializer};

/// Which way a migration runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Direction {
    /// It is being applied.
    #[default]
    Up,
    /// It is being rolled back.
    Down,
}

impl Direction {
    /// The name, as JSON and markers have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// What a long migration is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Phase {
    /// A backfill or a fold counts its entries.
    Count,
    /// A backfill or a fold works on its entries.
    Entries,
    /// A backfill tries the entries again that failed.
    Retry,
    /// A fold writes its output.
    Write,
    /// A re-key looks for collisions. Nothing is written.
    Survey,
    /// A re-key looks once more at the collisions that it found.
    Confirm,
    /// A re-key writes entries to their new keys.
    Copy,
    /// A re-key waits until what it wrote or deleted is visible everywhere.
    Wait,
    /// A re-key verifies copies and deletes the old keys.
    Sweep,
    /// A re-key looks for entries that were written under old keys in the meantime.
    Check,
    /// None has begun, or a phase that this release does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Serialize for Phase {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Phase {
    /// Returns the name, as JSON and markers have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Entries => "entries",
            Self::Retry => "retry",
            Self::Write => "write",
            Self::Survey => "survey",
            Self::Confirm => "confirm",
            Self::Copy => "copy",
            Self::Wait => "wait",
            Self::Sweep => "sweep",
            Self::Check => "check",
            Self::Unknown => "unknown",
        }
    }

    /// The phase with this name; [`Phase::Unknown`] if there is none.
    pub(crate) fn from_name(name: &str) -> Self {
        const ALL: [Phase; 10] = [
            Phase::Count,
            Phase::Entries,
            Phase::Retry,
            Phase::Write,
            Phase::Survey,
            Phase::Confirm,
            Phase::Copy,
            Phase::Wait,
            Phase::Sweep,
            Phase::Check,
        ];
        ALL.into_iter().find(|phase| phase.name() == name).unwrap_or(Self::Unknown)
    }
}

/// How many entries a backfill, a fold or a re-key has met, and what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EntryCounts {
    /// Those that it looked at.
    pub seen: u64,
    /// For a backfill, those that it wrote or deleted through the [`Record`](crate::Record). For a fold, those that it wrote
    /// at the end.
    pub changed: u64,
    /// For a re-key, those that it moved.
    pub moved: u64,
    /// For a backfill, those that were skipped because they failed. For a re-key, those that stay at their old keys: because
    /// the mapping says so, or because they collide.
    pub left: u64,
}

impl EntryCounts {
    /// What was counted since.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            seen: self.seen.saturating_sub(before.seen),
            changed: self.changed.saturating_sub(before.changed),
            moved: self.moved.saturating_sub(before.moved),
            left: self.left.saturating_sub(before.left),
        }
    }

    /// Adds to these counts. The counts of a checkpoint are whatever stands there, so that no sum may overflow.
    pub(crate) fn add(&mut self, more: Self) {
        let Self { seen, changed, moved, left } = more;
        self.seen = self.seen.saturating_add(seen);
        self.changed = self.changed.saturating_add(changed);
        self.moved = self.moved.saturating_add(moved);
        self.left = self.left.saturating_add(left);
    }
}

/// How far a backfill, a fold or a re-key has got.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Progress {
    /// Whether it is being applied or rolled back.
    pub direction: Direction,
    /// What it is doing.
    pub phase: Phase,
    /// The number of entries that are done in this phase.
    pub done: u64,
    /// The number of entries in this phase, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// The number of entries that failed and were skipped.
    pub failed: u64,
    /// How many entries it has met so far, in all requests and phases.
    #[serde(default)]
    pub entries: EntryCounts,
    /// How many entries a second the last request did.
    pub entries_per_second: u64,
    /// The number of requests so far.
    pub requests: u64,
    /// The number of KV operations so far, in all requests.
    pub operations: u64,
    /// The time so far, in all requests, in milliseconds.
    pub duration_ms: u64,
    /// When it began: ISO 8601. Empty, and not part of the JSON, if its metadata was lost.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub started_at: String,
    /// When its last checkpoint was written: ISO 8601. An interrupted run resumes from there. Empty, and not part of the JSON,
    /// before the first one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub checkpoint_at: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_has_the_same_name_in_json_and_in_markers() {
        for name in
            ["count", "entries", "retry", "write", "survey", "confirm", "copy", "wait", "sweep", "check"]
        {
            let phase: Phase = serde_json::from_value(name.into()).expect("it is a phase");
            assert_ne!(phase, Phase::Unknown, "{name}");
            assert_eq!((phase.name(), Phase::from_name(name)), (name, phase));
            assert_eq!(serde_json::to_value(phase).expect("it is text"), name);
        }
    }

    #[test]
    fn a_time_that_is_not_known_is_left_out_of_the_json() {
        let json = serde_json::to_value(Progress::default()).expect("it is JSON");
        for name in ["startedAt", "checkpointAt"] {
            assert_eq!(json.get(name), None, "{json}");
        }
        let read: Progress = serde_json::from_value(json).expect("a client reads it");
        assert_eq!(read, Progress::default());
    }

    #[test]
    fn a_phase_of_a_later_release_is_read_as_unknown() {
        let phase: Phase = serde_json::from_value("polish".into()).expect("any text is a phase");
        assert_eq!((phase, Phase::from_name("polish")), (Phase::Unknown, Phase::Unknown));
    }
}
