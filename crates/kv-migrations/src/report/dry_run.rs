//! What a dry run found.

use serde::{Deserialize, Serialize};

use super::skip::{is_false, is_zero};
use super::{EntryCounts, MigrationKind};

/// What a run would change. Nothing was changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DryRunReport {
    /// Whether all that was asked for was run to its end.
    pub complete: bool,
    /// Why it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<DryRunStop>,
    /// The migrations that were run, in order. Where it stopped, the last one may not be complete.
    pub migrations: Vec<DryRunMigration>,
    /// The migrations that were asked for and not run to their end.
    pub remaining: Vec<String>,
    /// How many requests a real run would take with this [`Budget`](crate::Budget).
    pub requests: u64,
    /// How many KV operations a real run would make, those on the ledger included.
    pub operations: u64,
    /// What these cost, in US dollars: see [`DryRunReport::PRICES_AS_OF`].
    pub usd: String,
    /// The date of the prices.
    pub prices_as_of: String,
    /// How long a real run would wait for KV, in milliseconds. The dry run did not.
    pub skipped_waits_ms: u64,
    /// How many KV operations the dry run made: it only read.
    pub operations_sent: u64,
    /// What looks like a mistake, for people, as in [`RunReport::warnings`](crate::RunReport::warnings).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The migration that a run was at when the dry run began: what it told may have changed by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_progress: Option<String>,
}

impl DryRunReport {
    /// The date of the prices: those of Workers KV beyond what the paid plan includes, $0.50 for a million keys read, and $5.00
    /// for a million writes, deletions or lists.
    ///
    /// Source: <https://developers.cloudflare.com/kv/platform/pricing/>.
    pub const PRICES_AS_OF: &'static str = "2026-11-28";
}

/// Why a dry run stopped before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DryRunStop {
    /// The budget of the request was used up. Take a sample, or ask for fewer migrations.
    Budget,
    /// What would be written takes too much memory. Take a sample, or ask for fewer migrations.
    Memory,
    /// KV's daily quota for reads is used up.
    Quota,
    /// A migration failed: those after it would run on other data.
    Failed,
}

/// What one migration would change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DryRunMigration {
    /// The migration.
    pub id: String,
    /// What kind of change it makes.
    pub kind: MigrationKind,
    /// Whether it was run to its end, so that a real run would have applied it.
    pub complete: bool,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How many entries it met, if it is a backfill, a fold or a re-key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<EntryCounts>,
    /// How many entries it writes.
    pub writes: u64,
    /// How many entries it deletes.
    pub deletes: u64,
    /// The bytes of all values that it writes.
    pub bytes: u64,
    /// What its writes and deletions cost, in US dollars.
    pub usd: String,
    /// How many KV operations a real run of it makes.
    pub operations: u64,
    /// In how many requests a real run is at it.
    pub requests: u64,
    /// Its first writes and deletions, in their order: as many as were asked for.
    pub changes: Vec<DryRunChange>,
    /// How many more there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_changes: u64,
    /// What looks like a mistake in what it does.
    pub findings: Vec<DryRunFinding>,
}

/// One write or deletion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DryRunChange {
    /// The key.
    pub key: String,
    /// `put` or `delete`.
    pub operation: String,
    /// Whether it is in another namespace than the service's own.
    #[serde(default, skip_serializing_if = "is_false")]
    pub elsewhere: bool,
    /// What is there before it. `None` if there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<DryRunEntry>,
    /// What is there after it. `None` if it deletes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<DryRunEntry>,
}

/// An entry before or after a change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DryRunEntry {
    /// The size of its value.
    pub bytes: u64,
    /// Its metadata: JSON, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// When it expires, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration: Option<u64>,
    /// Its value, if values were asked for and it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Something that looks like a mistake in what a migration does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DryRunFinding {
    /// What it is.
    #[serde(rename = "finding")]
    pub kind: DryRunFindingKind,
    /// How many changes or entries it is found at.
    pub count: u64,
    /// The keys of the first ten.
    pub keys: Vec<String>,
    /// Why, of the first one, where KV or the migration says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What looks like a mistake in what a migration does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DryRunFindingKind {
    /// A key is written again without a wait between. KV takes one write a second to a key, and refuses others, which are then
    /// retried: that takes a second each.
    WrittenAgain,
    /// An entry that has metadata is written without.
    MetadataLost,
    /// An entry that expires is written without an expiration.
    ExpirationLost,
    /// KV would refuse the write: its key, value or metadata is too long, or its expiration is too near.
    Refused,
    /// An entry of a re-key cannot have its new key, and stays at its old one.
    Collision,
    /// An entry fails, and is skipped.
    FailedEntry,
}
