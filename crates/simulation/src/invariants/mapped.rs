//! What becomes of entries that are mapped by their values, or by a table.

use kv_migrations::kv::MemoryStore;

use crate::end::{Data, loaded_tables, reported_keys};
use crate::moving::{Moving, TABLES};
use crate::plan::{MigrationKind, Plan};
use crate::violation::{Check, violated};

/// A re-key maps all entries by the table that it has loaded once.
pub fn entries_are_mapped_by_one_table(plan: &Plan, found: &[Data]) -> Check {
    for table in plan.tables.iter().filter(|table| table.moving.is_some_and(Moving::has_table)) {
        let loaded = loaded_tables(plan, table, found);
        if loaded.len() > 1 {
            let text = format!("entries of {} were mapped by {} tables", table.prefix(1), loaded.len());
            return violated("entries_are_mapped_by_one_table", text);
        }
    }
    Ok(())
}

/// A re-key that skips collisions reports each entry that it leaves.
pub fn left_entries_are_reported(plan: &Plan, truth: &MemoryStore) -> Check {
    for planned in &plan.migrations {
        let table = &plan.tables[planned.table];
        let mut left =
            table.entries.iter().filter(|entry| entry.ttl.is_none() && entry.is_left(table.moving));
        let reported = reported_keys(truth, &planned.marker());
        let is_reported = |old: &str| reported.contains(&format!("{old:?}"));
        // A long key is cut.
        if let Some(entry) = left.find(|entry| {
            let old = table.old_key(&entry.name);
            old.len() < 40 && !is_reported(&old)
        }) {
            let text = format!("`{}` is left, and {reported} does not say so", entry.name);
            return violated("left_entries_are_reported", text);
        }
    }
    Ok(())
}

/// Forgets entries that a re-key left and reported, since their new keys were taken after its survey. Returns whether there was one.
pub fn forget_taken(plan: &Plan, truth: &MemoryStore, expected: &[Data], found: &mut Vec<Data>) -> bool {
    let before = found.len();
    for planned in plan.migrations.iter().filter(|planned| plan.may_leave_taken(planned)) {
        let reported = reported_keys(truth, &planned.marker());
        found.retain(|entry| {
            let old = &entry.0.name;
            let is_reported = old.starts_with(&planned.from) && reported.contains(&format!("{old:?}"));
            expected.contains(entry) || !is_reported
        });
    }
    found.len() < before
}

/// Forgets copies under keys that their entries did not get any more, which the re-key has reported: somebody may have changed
/// them, or a request may have made them after its last checkpoint. Where two runs are at it at once, or one was started over
/// and has perhaps loaded another table, such a copy may be left without a word. So may one of an entry that was written under its old
/// key again after it had moved. Returns whether there was one.
pub fn forget_outdated_copies(
    plan: &Plan,
    truth: &MemoryStore,
    expected: &[Data],
    found: &mut Vec<Data>,
    may_be_unknown: bool,
) -> bool {
    let before = found.len();
    for planned in &plan.migrations {
        if !matches!(planned.kind, MigrationKind::Moving(_)) {
            continue;
        }
        let reported = reported_keys(truth, &planned.marker());
        let is_reported = |label_and_name: &str| {
            let mut tables = 0..TABLES;
            let rest = label_and_name.get(1..).unwrap_or_default();
            tables.any(|table| reported.contains(&format!("{:?}", format!("{}{table}{rest}", planned.to))))
        };
        found.retain(|entry| {
            let Some(rest) = entry.0.name.strip_prefix(&planned.to) else { return true };
            expected.contains(entry) || !may_be_unknown && !is_reported(rest)
        });
    }
    if may_be_unknown {
        found.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        found.dedup();
    }
    found.len() < before
}
