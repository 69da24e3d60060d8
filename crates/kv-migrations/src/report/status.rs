//! The state of each migration.

use serde::{Deserialize, Serialize};

use super::skip::{is_false, is_zero};
use super::{EntryCounts, MigrationKind, Progress};

/// The state of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum State {
    /// It was never applied, or it was rolled back.
    Pending,
    /// It runs at this moment in the same process (for a Worker: the same isolate), or it takes more than one request
    /// and the next one resumes it. Its progress tells when its last checkpoint was written.
    Running,
    /// It has begun and waits to be resumed. Only a coordinator pauses migrations.
    Paused,
    /// It is recorded as applied.
    Applied,
    /// Its last run returned an error. The next run tries it again.
    Failed,
}

/// One migration, as the ledger knows it.
///
/// As JSON it has the fields of the TypeScript runner (`id`, `run`, `description`) and more; fields that do not apply
/// are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
#[allow(clippy::struct_excessive_bools, reason = "they are fields of the JSON")]
pub struct Status {
    /// Its id.
    pub id: String,
    /// Whether it is applied.
    pub run: bool,
    /// What it does. `None` if it was registered with an empty description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its state.
    pub state: State,
    /// When it was applied: ISO 8601, as the runner that applied it wrote it. `None` in a marker that was set by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_at: Option<String>,
    /// How long its `up` took, in milliseconds. `None` if the TypeScript runner applied it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// How many KV operations its `up` made. `None` if the TypeScript runner applied it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<u64>,
    /// How many entries its `up` met. `None` unless it is an applied backfill, fold or re-key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<EntryCounts>,
    /// How many entries its `up` skipped because they failed or collided, if it is applied.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed: u64,
    /// The keys of the first of them: as many as its marker can hold. A long key is cut and ends with `…`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_keys: Vec<String>,
    /// Whether it was applied after one that is registered later.
    #[serde(default, skip_serializing_if = "is_false")]
    pub out_of_order: bool,
    /// Whether it has a `down`.
    pub reversible: bool,
    /// The [revision](crate::Migration::revision) that was applied, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// What kind of change its `up` makes.
    #[serde(default)]
    pub kind: MigrationKind,
    /// Whether it can take more than one request: whether it is a backfill, a fold or a re-key.
    #[serde(default)]
    pub resumable: bool,
    /// Why it failed: at most about 900 bytes of its error. With a coordinator also: if it is
    /// [`Applied`](State::Applied), why its last rollback failed; while it is [`Running`](State::Running), that its last
    /// step was cut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How far it has got, if it takes more than one request and is not finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Box<Progress>>,
    /// When a coordinator retries what failed: ISO 8601.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<String>,
}

/// The state of every registered migration, and which others this service has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatusReport {
    /// The registered migrations, in order.
    pub migrations: Vec<Status>,
    /// As in [`RunReport::missing`](crate::RunReport::missing).
    pub missing: Vec<String>,
    /// As in [`RunReport::unfinished`](crate::RunReport::unfinished).
    pub unfinished: Vec<String>,
    /// As in [`RunReport::missing_unknown`](crate::RunReport::missing_unknown).
    pub missing_unknown: bool,
}

impl Status {
    /// A pending migration.
    pub(crate) fn pending(id: &str, description: &str, reversible: bool, kind: MigrationKind) -> Self {
        Self {
            id: id.to_owned(),
            run: false,
            description: Some(description).filter(|text| !text.is_empty()).map(str::to_owned),
            state: State::Pending,
            run_at: None,
            duration_ms: None,
            operations: None,
            entries: None,
            failed: 0,
            failed_keys: Vec::new(),
            out_of_order: false,
            reversible,
            revision: None,
            kind,
            resumable: kind != MigrationKind::Plain,
            error: None,
            progress: None,
            retry_at: None,
        }
    }
}
