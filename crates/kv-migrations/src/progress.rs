//! How far a migration has got that takes more than one request.

use std::borrow::Cow;

use serde::Serialize;

/// Which way a migration is being run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Direction {
    /// It is being applied.
    #[default]
    Up,
    /// It is being rolled back.
    Down,
}

/// How far a backfill, a fold or a re-key has got.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Progress {
    /// Whether it is being applied or rolled back.
    pub direction: Direction,
    /// What it is doing: `count`, `entries`, `retry` (backfill); `entries`, `write` (fold); `survey`,
    /// `confirm`, `copy`, `wait`, `sweep`, `check` (re-key).
    pub phase: Cow<'static, str>,
    /// The entries that are done in this phase.
    pub done: u64,
    /// How many entries there are, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// The entries that failed and were passed over.
    pub failed: u64,
    /// How many entries a second the last request did.
    pub entries_per_second: u64,
    /// The requests that it has taken so far.
    pub requests: u64,
    /// The KV operations that it has made so far, in all requests.
    pub operations: u64,
    /// The time that it has taken so far, in all requests, in milliseconds.
    pub duration_ms: u64,
    /// When it began: ISO 8601.
    pub started_at: String,
    /// When it was recorded last: ISO 8601. A run that was cut off goes on from there.
    pub checkpoint_at: String,
}
