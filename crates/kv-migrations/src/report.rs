//! What a run did, and what state the migrations are in: what answers are made of.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::reason;
use crate::ledger::{Entries, Marker};
use crate::migration::Migration;
use crate::progress::Progress;

/// The state of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum State {
    /// It was never run, or was rolled back.
    Pending,
    /// It is under way: at this moment in the same process, for a Worker the same isolate; or it takes more than one
    /// request, and the next one carries on. When it was heard of last is in its progress.
    Running,
    /// It is under way, and waits to be resumed. Only a coordinator can be asked for that.
    Paused,
    /// It is recorded as applied.
    Applied,
    /// Its `up` returned an error the last time it was run. The next run tries it again.
    Failed,
}

/// One migration as the ledger knows it.
///
/// As JSON it is what the TypeScript runner reported (`id`, `run`, `description`), with more fields; those that do
/// not apply are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Status {
    /// Its id.
    pub id: String,
    /// Whether it is applied.
    pub run: bool,
    /// What it does; none if it was registered with an empty description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its state.
    pub state: State,
    /// When it was applied: ISO 8601, as the runner that did it wrote it. None in a marker that was set by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_at: Option<String>,
    /// How long its `up` took, in milliseconds; none if the TypeScript runner ran it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// How many KV operations its `up` made; none if the TypeScript runner ran it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operations: Option<u64>,
    /// Whether it has a `down`.
    pub reversible: bool,
    /// Why it failed, if it did: at most about 900 bytes of its error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How far it has got, if it takes more than one request and is not finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Box<Progress>>,
    /// When a coordinator will try again what failed: ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<String>,
}

impl Status {
    pub(crate) fn new<C>(migration: &Migration<C>, ledger: &Entries, running: Option<&str>) -> Self {
        let id = migration.id();
        let is_running = running == Some(id);
        let mut status = Self {
            id: id.to_owned(),
            run: false,
            description: Some(migration.description()).filter(|text| !text.is_empty()).map(str::to_owned),
            state: if is_running { State::Running } else { State::Pending },
            run_at: None,
            duration_ms: None,
            operations: None,
            reversible: migration.is_reversible(),
            error: None,
            progress: None,
            retry_at: None,
        };
        let marker = ledger.get(id);
        status.progress = marker.and_then(Marker::progress).cloned().map(Box::new);
        match marker {
            Some(Marker::Running(_)) => status.state = State::Running,
            Some(Marker::Applied(applied)) => {
                status.run = true;
                if !is_running {
                    status.state = State::Applied;
                }
                status.run_at.clone_from(&applied.run_at);
                status.duration_ms = applied.duration_ms;
                status.operations = applied.operations;
            }
            Some(Marker::Failed { reason, .. }) if !is_running => {
                status.state = State::Failed;
                status.error = Some(reason.clone());
            }
            _ => {}
        }
        status
    }
}

/// What a run did.
///
/// As JSON it is what the TypeScript runner reported (`ran`, `skipped`), with more fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RunReport {
    /// The migrations that were applied, in order.
    pub ran: Vec<String>,
    /// Those that were applied already.
    pub skipped: Vec<String>,
    /// What each of `ran` took.
    pub details: Vec<Detail>,
    /// Those of `ran` that stand before one of `skipped`: they ran later than their place says.
    pub out_of_order: Vec<String>,
    /// Migrations that are applied for this service, but not registered. Only those that this runner marked are
    /// known to be the service's.
    pub missing: Vec<String>,
    /// All KV operations of the run: of the migrations, of reading the ledger and of recording in it.
    pub operations: u64,
    /// The migrations that are still to be applied, since the run had used up its [`Budget`](crate::Budget): the next
    /// run carries on with the first of them. Empty if it is finished.
    pub remaining: Vec<String>,
    /// How far the first of `remaining` has got, if it is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Box<Progress>>,
    /// How long to wait before the next run, if there is something left to do.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

impl RunReport {
    /// Whether every registered migration is applied.
    pub fn is_finished(&self) -> bool {
        self.remaining.is_empty()
    }
}

/// What one migration took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Detail {
    /// The migration.
    pub id: String,
    /// How long its `up` or `down` took, in milliseconds.
    pub duration_ms: u64,
    /// How many KV operations it made.
    pub operations: u64,
    /// The entries that were passed over, as it was told to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_entries: Vec<FailedEntry>,
}

/// An entry that was passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FailedEntry {
    /// Its key.
    pub key: String,
    /// Why: at most 200 bytes of the error.
    pub reason: String,
}

impl FailedEntry {
    pub(crate) fn new(key: String, error: &(dyn std::error::Error + 'static)) -> Self {
        const REASON_BYTES: usize = 200;
        let mut reason = reason(error);
        reason.truncate(reason.floor_char_boundary(REASON_BYTES));
        Self { key, reason }
    }
}

/// What a rollback did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RollbackReport {
    /// The migration that is not applied any more; none if its `down` is to be carried on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<String>,
    /// How long its `down` took, in milliseconds.
    pub duration_ms: u64,
    /// All KV operations, those on the ledger included.
    pub operations: u64,
    /// The entries that were passed over, as it was told to do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed_entries: Vec<FailedEntry>,
    /// How far its `down` has got, if it is to be carried on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Box<Progress>>,
    /// How long to wait before it is carried on.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

impl RollbackReport {
    /// Whether the migration is rolled back, and nothing is left to be carried on.
    pub fn is_finished(&self) -> bool {
        self.rolled_back.is_some()
    }
}
