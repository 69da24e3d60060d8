//! Gathers what a dry run tells: counts, changes and findings. Pure.

use super::slots::Content;
use crate::kv::{KvError, Request};
use crate::report::{
    AppliedMigration, DryRunChange, DryRunEntry, DryRunFinding, DryRunFindingKind, DryRunMigration,
    DryRunReport, EntryCounts, MigrationKind,
};

/// How many entries of each migration are looked up before they are written, if nothing is known of them.
const MAX_LOOKUPS: u64 = 100;
/// How many keys of a finding are listed.
const MAX_KEYS: usize = 10;

/// What a dry run has done so far.
pub(super) struct Recorder {
    shown: usize,
    has_values: bool,
    pub(super) report: DryRunReport,
    /// Whether the last migration of the report runs now.
    is_running: bool,
    lookups: u64,
    cost: Cost,
}

/// What operations cost, in halves of millionths of a dollar.
#[derive(Default)]
struct Cost(u64);

impl Cost {
    const READ: u64 = 1;
    const OTHER: u64 = 10;

    fn usd(&self) -> String {
        let millionths = self.0.div_ceil(2);
        format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000)
    }
}

/// What was at a key before a change, as far as it is known.
pub(super) enum Before {
    Unknown,
    Known(Option<Content>),
}

/// What is to be looked up of an entry before it is written.
#[derive(Clone, Copy)]
pub(super) struct Lookup {
    pub(super) has_options: bool,
    pub(super) has_size: bool,
    pub(super) has_value: bool,
}

/// One change, as the overlay has made it.
pub(super) struct Change<'a> {
    pub(super) key: &'a str,
    pub(super) is_elsewhere: bool,
    pub(super) before: Before,
    pub(super) after: Option<&'a Content>,
    /// Whether the same migration wrote it, with no wait since.
    pub(super) is_again: bool,
}

impl Recorder {
    pub(super) fn new(shown: usize, has_values: bool) -> Self {
        let report = DryRunReport::default();
        Self { shown, has_values, report, is_running: false, lookups: 0, cost: Cost::default() }
    }

    pub(super) fn begin_request(&mut self) {
        self.report.requests += 1;
        self.is_running = false;
    }

    /// A migration begins or resumes.
    pub(super) fn start(&mut self, id: &str, kind: MigrationKind) {
        self.is_running = true;
        if self.report.migrations.last().is_none_or(|last| last.id != id) {
            self.lookups = MAX_LOOKUPS;
            let id = id.to_owned();
            self.report.migrations.push(DryRunMigration { id, kind, ..DryRunMigration::default() });
        }
        if let Some(migration) = self.report.migrations.last_mut() {
            migration.requests += 1;
        }
    }

    /// The number of the migration that runs.
    pub(super) fn number(&self) -> usize {
        self.report.migrations.len()
    }

    /// Whether a backfill, a fold or a re-key runs.
    pub(super) fn is_at_long_one(&self) -> bool {
        self.is_running && self.report.migrations.last().is_some_and(|last| last.kind != MigrationKind::Plain)
    }

    pub(super) fn end(&mut self, applied: &AppliedMigration) {
        let Some(migration) = self.report.migrations.last_mut() else { return };
        (migration.complete, migration.entries) = (true, applied.entries);
        let is_rekey = migration.kind == MigrationKind::Rekey;
        let kind = if is_rekey { DryRunFindingKind::Collision } else { DryRunFindingKind::FailedEntry };
        for failed in &applied.failed_entries {
            add_finding(migration, kind, &failed.key, Some(&failed.reason));
        }
    }

    /// The last migration failed.
    pub(super) fn fail(&mut self, id: &str, reason: &str) {
        if let Some(migration) = self.report.migrations.last_mut().filter(|last| last.id == id) {
            migration.error = Some(reason.to_owned());
        }
    }

    /// Sets how many entries the last migration has met, which is not complete.
    pub(super) fn set_entries(&mut self, id: &str, entries: EntryCounts) {
        if let Some(migration) = self.report.migrations.last_mut().filter(|last| last.id == id) {
            migration.entries = Some(entries);
        }
    }

    /// Counts an operation as a real run makes it.
    pub(super) fn count(&mut self, request: Request<'_>) {
        if self.report.requests == 0 {
            // What a dry run reads before it begins.
            return;
        }
        self.report.operations += 1;
        self.cost.0 += match request {
            Request::Get { .. } => Cost::READ,
            Request::GetBulk { keys } => Cost::READ * keys.len() as u64,
            _ => Cost::OTHER,
        };
        if let Some(migration) = self.report.migrations.last_mut().filter(|_| self.is_running) {
            migration.operations += 1;
        }
    }

    /// What is to be looked up for the next change.
    pub(super) fn lookup(&mut self) -> Lookup {
        let shown = self.report.migrations.last().map_or(0, |last| last.changes.len());
        let has_size = shown < self.shown;
        let has_options = has_size || self.lookups > 0;
        Lookup { has_options, has_size, has_value: has_size && self.has_values }
    }

    pub(super) fn note_lookup(&mut self) {
        self.lookups = self.lookups.saturating_sub(1);
    }

    /// Notes a change. Returns the bytes that this takes.
    pub(super) fn change(&mut self, change: Change<'_>) -> usize {
        let Change { key, is_elsewhere: elsewhere, before, after, is_again } = change;
        let Some(migration) = self.report.migrations.last_mut() else { return 0 };
        match after {
            Some(after) => {
                migration.writes += 1;
                migration.bytes += after.bytes.unwrap_or_default() as u64;
            }
            None => migration.deletes += 1,
        }
        if is_again {
            add_finding(migration, DryRunFindingKind::WrittenAgain, key, None);
        }
        if let (Before::Known(Some(before)), Some(after)) = (&before, after) {
            if before.metadata().is_some() && after.metadata().is_none() {
                add_finding(migration, DryRunFindingKind::MetadataLost, key, None);
            }
            if before.expiration().is_some() && after.expiration().is_none() {
                add_finding(migration, DryRunFindingKind::ExpirationLost, key, None);
            }
        }
        // What was there may not be known: the budget was used up.
        let before = match before {
            Before::Known(before) if migration.changes.len() < self.shown => before,
            _ => {
                migration.more_changes += 1;
                return 0;
            }
        };
        let operation = if after.is_some() { "put" } else { "delete" }.to_owned();
        let before = before.map(|before| entry(&before, self.has_values));
        let after = after.map(|after| entry(after, self.has_values));
        let size = |entry: &Option<DryRunEntry>| {
            let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
            entry.as_ref().map_or(0, |entry| text(&entry.metadata) + text(&entry.value))
        };
        let bytes = key.len() + size(&before) + size(&after);
        migration.changes.push(DryRunChange { key: key.to_owned(), operation, elsewhere, before, after });
        bytes
    }

    /// Notes a write that KV would refuse.
    pub(super) fn refused(&mut self, key: &str, error: &KvError) {
        if let Some(migration) = self.report.migrations.last_mut() {
            add_finding(migration, DryRunFindingKind::Refused, key, Some(&format!("{error}")));
        }
    }

    /// The report, with what the counts cost.
    pub(super) fn take(&mut self) -> DryRunReport {
        for migration in &mut self.report.migrations {
            migration.usd = Cost((migration.writes + migration.deletes) * Cost::OTHER).usd();
        }
        self.report.usd = self.cost.usd();
        self.report.prices_as_of.push_str(DryRunReport::PRICES_AS_OF);
        std::mem::take(&mut self.report)
    }
}

fn entry(content: &Content, has_values: bool) -> DryRunEntry {
    let value = content.value.as_ref().filter(|_| has_values);
    DryRunEntry {
        bytes: content.bytes.unwrap_or_default() as u64,
        metadata: content.metadata().map(|metadata| metadata.as_json().to_owned()),
        expiration: content.expiration(),
        value: value.and_then(|value| String::from_utf8(value.clone()).ok()),
    }
}

fn add_finding(migration: &mut DryRunMigration, kind: DryRunFindingKind, key: &str, reason: Option<&str>) {
    let findings = &mut migration.findings;
    let place = findings.iter().position(|finding| finding.kind == kind).unwrap_or_else(|| {
        let reason = reason.map(str::to_owned);
        findings.push(DryRunFinding { kind, count: 0, keys: Vec::new(), reason });
        findings.len() - 1
    });
    if let Some(finding) = findings.get_mut(place) {
        finding.count += 1;
        if finding.keys.len() < MAX_KEYS {
            finding.keys.push(key.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_writes_cost_five_dollars_and_a_million_reads_half_a_dollar() {
        for (cost, usd) in [
            (1_000_000 * Cost::OTHER, "5.000000"),
            (1_000_000 * Cost::READ, "0.500000"),
            (Cost::OTHER, "0.000005"),
            (Cost::READ, "0.000001"),
            (0, "0.000000"),
        ] {
            assert_eq!(Cost(cost).usd(), usd);
        }
    }
}
