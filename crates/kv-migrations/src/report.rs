//! What a run did, and what state the migrations are in: what answers are made of.

use serde::Serialize;

use crate::ledger::{Entries, Marker};
use crate::migration::Migration;

/// The state of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum State {
    /// It was never run, or was rolled back.
    Pending,
    /// It is being made at this moment in the same process, for a Worker the same isolate. A run elsewhere in the
    /// world is not seen.
    Running,
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
        };
        match ledger.get(id).cloned() {
            Some(Marker::Applied(applied)) => {
                status.run = true;
                if !is_running {
                    status.state = State::Applied;
                }
                status.run_at = applied.run_at;
                status.duration_ms = applied.duration_ms;
                status.operations = applied.operations;
            }
            Some(Marker::Failed { reason }) if !is_running => {
                status.state = State::Failed;
                status.error = Some(reason);
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
}

/// What one migration took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Detail {
    /// The migration.
    pub id: String,
    /// How long its `up` or `down` took, in milliseconds.
    pub duration_ms: u64,
    /// How many KV operations it made.
    pub operations: u64,
}

/// What a rollback did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RollbackReport {
    /// The migration that is not applied any more.
    pub rolled_back: String,
    /// How long its `down` took, in milliseconds.
    pub duration_ms: u64,
    /// All KV operations, those on the ledger included.
    pub operations: u64,
}
