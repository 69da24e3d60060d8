//! What becomes of the entries.

use std::time::SystemTime;

use kv_migrations::kv::{Entry, Key, MemoryStore};

use crate::keys::{index_group, index_prefix, step_key};
use crate::mode::Mode;
use crate::observations::CompletedWrite;
use crate::plan::{MigrationKind, Plan, PlannedMigration};
use crate::situation::Situation;
use crate::table::{InitialEntry, Table};
use crate::tally::Tally;
use crate::time::DELAY;
use crate::value::{marked, version};
use crate::versions::Versions;
use crate::violation::{Check, violated};

/// What is marked as applied is done to every entry.
pub fn marked_migrations_are_done(plan: &Plan, planned: &PlannedMigration, truth: &MemoryStore) -> Check {
    let table = &plan.tables[planned.table];
    let lasting = table.entries.iter().filter(|entry| entry.ttl.is_none());
    let mut lasting = lasting.filter(|entry| planned.way.takes(&entry.name));
    let missing = match planned.kind {
        MigrationKind::Steps(steps) => {
            let mut keys = (0..steps).map(|step| step_key(planned.number, step));
            keys.find(|key| truth.value(key).is_none()).map(|key| format!("`{key}` is not written"))
        }
        MigrationKind::Backfill => {
            let lacks_mark = |entry: &&InitialEntry| {
                find(table, &entry.name, truth).is_none_or(|value| marked(&value, planned.number).is_some())
            };
            lasting.find(lacks_mark).map(|entry| format!("`{}` has no mark", entry.name))
        }
        MigrationKind::Fold => {
            let is_indexed = |entry: &InitialEntry| {
                let key = format!("{}{}", index_prefix(planned.number), index_group(&entry.name));
                let index = truth.value(&key).and_then(|index| String::from_utf8(index).ok());
                index.is_some_and(|index| index.contains(&format!("{:?}", entry.name)))
            };
            lasting.find(|entry| !is_indexed(entry)).map(|entry| format!("`{}` is not indexed", entry.name))
        }
        MigrationKind::Copying => {
            let is_copied =
                |entry: &InitialEntry| truth.value(&format!("{}{}", planned.to, entry.name)).is_some();
            lasting.find(|entry| !is_copied(entry)).map(|entry| format!("`{}` is not copied", entry.name))
        }
        MigrationKind::Deleting => {
            let is_there =
                |entry: &InitialEntry| truth.value(&format!("{}{}", planned.from, entry.name)).is_some();
            lasting
                .find(|entry| is_there(entry))
                .map(|entry| format!("`{}` is still at its old key", entry.name))
        }
        MigrationKind::Rekey { .. } | MigrationKind::Moving(_) => {
            let is_moved = |entry: &InitialEntry| {
                let mut later =
                    (planned.moves + 1..=table.moves).flat_map(|moves| table.keys_after(moves, &entry.name));
                let is_there = later.any(|key| truth.value(&key).is_some());
                if entry.is_left(table.moving) {
                    return truth.value(&table.old_key(&entry.name)).is_some();
                }
                if plan.may_leave_taken(planned) {
                    return is_there;
                }
                let old = format!("{}{}", planned.from, entry.name);
                is_there && (table.is_served || truth.value(&old).is_none())
            };
            lasting.find(|entry| !is_moved(entry)).map(|entry| format!("`{}` is not moved", entry.name))
        }
    };
    missing.map_or(Ok(()), |missing| {
        let text = format!("{} is marked as applied, but {missing}", planned.id);
        violated("marked_migrations_are_done", text)
    })
}

/// The value of an entry, under the key that it has now.
fn find(table: &Table, name: &str, truth: &MemoryStore) -> Option<String> {
    let values = table.keys(name).filter_map(|key| truth.value(&key));
    values.map(|value| String::from_utf8_lossy(&value).into_owned()).max_by_key(|value| version(value))
}

/// No entry is deleted unless it exists, at least as new, under another of its keys.
///
/// One exception is counted only. Two runs of a re-key, at the same moment or at two locations within KV's delay, can copy
/// the same entry, one of them in an older version. The older copy can win: it looks like something newer that the service
/// wrote. If the other run has deleted the old entry already, this is seen at the end of the world.
/// Another one is a write of a service that knows the old keys alone: it may be lost if KV's delay was not over when the run
/// began that deletes the old key.
/// And where several callers run a re-key and roll it back at once, each deletes what the other keeps.
pub fn only_copied_entries_are_deleted(
    plan: &Plan,
    versions: &Versions,
    write: &CompletedWrite<'_>,
    began: Option<SystemTime>,
    meets_opposite: bool,
    truth: &MemoryStore,
    tally: &mut Tally,
) -> Check {
    let Some(deleted) = write.deleted else { return Ok(()) };
    for (number, table) in plan.tables.iter().enumerate() {
        let Some(index) = table.entry_of(write.key) else { continue };
        let entry = &table.entries[index];
        let deleted = String::from_utf8_lossy(deleted);
        // A version that the service still has to write under the other key may be deleted here.
        let lost = version(&deleted);
        let deleted_version = lost.min(Some(versions.written(number, index)));
        let elsewhere = find(table, &entry.name, truth).and_then(|value| version(&value));
        if entry.ttl.is_some() {
            continue;
        }
        // The service may not have been told yet that the write that is lost here was made.
        if elsewhere < lost
            && table.has_old_writes
            && let (Some(kept), Some(began)) = (elsewhere, began)
            && kept >= versions.written_before(number, index, began - DELAY)
        {
            versions.lose(number, index, kept, lost.unwrap_or(kept));
            tally.old_write_lost = true;
            return Ok(());
        }
        if elsewhere < deleted_version {
            if meets_opposite && plan.mode == Mode::ManyCallers {
                versions.give_up(number, index);
                tally.lost_to_opposite = true;
                continue;
            }
            if can_be_forgotten(plan, tally) && elsewhere.is_some() {
                tally.forgotten_copy_won = true;
                return Ok(());
            }
            if can_be_stale(plan, tally) && elsewhere.is_some() {
                tally.stale_copy_won = true;
                return Ok(());
            }
            let key = write.key;
            let text = format!("`{key}` with the value `{deleted}` was deleted; elsewhere is {elsewhere:?}");
            return violated("only_copied_entries_are_deleted", text);
        }
    }
    Ok(())
}

/// Whether an older copy may win over a newer entry.
fn can_be_stale(plan: &Plan, tally: &Tally) -> bool {
    plan.has_stale_copies() || tally.rekeys_overlapped
}

/// Whether a changed copy may hide what the service had written, since nothing is known any more of that copy.
fn can_be_forgotten(plan: &Plan, tally: &Tally) -> bool {
    tally.was_started_over && plan.has_changed_copying()
}

/// A reader of all keys of an entry, the newest key first, finds the entry.
pub fn entries_are_found_under_one_of_their_keys(name: &str, found: Option<&Entry>) -> Check {
    if found.is_some() {
        return Ok(());
    }
    violated(
        "entries_are_found_under_one_of_their_keys",
        format!("`{name}` was found under none of its keys"),
    )
}

/// In the end all migrations are applied.
pub fn all_migrations_are_applied(plan: &Plan, truth: &MemoryStore) -> Check {
    for planned in &plan.migrations {
        let value = truth.value(&planned.marker());
        if value.as_deref() != Some(b"true") {
            let value = value.map(|value| String::from_utf8_lossy(&value).into_owned());
            let text = format!("the marker of {} is {value:?}", planned.id);
            return violated("all_migrations_are_applied", text);
        }
    }
    Ok(())
}

/// In the end every entry exists, at least as new as it was written last, with the same exception as
/// [`only_copied_entries_are_deleted`].
pub fn no_entry_is_lost(plan: &Plan, versions: &Versions, truth: &MemoryStore, tally: &mut Tally) -> Check {
    for (number, table) in plan.tables.iter().enumerate() {
        for (index, entry) in table.entries.iter().enumerate().filter(|(_, entry)| entry.ttl.is_none()) {
            if versions.is_given_up(number, index) {
                continue;
            }
            let newest = format!("{}{}", table.prefix(table.moves), entry.name);
            let value = if plan.situation == Situation::LiveService {
                // Nothing reads the old key any more.
                truth.value(&newest).map(|value| String::from_utf8_lossy(&value).into_owned())
            } else {
                find(table, &entry.name, truth)
            };
            let written = versions.written(number, index);
            if let Some(found) = value.as_deref().and_then(version).filter(|found| *found >= written) {
                versions.find(number, index, found);
                continue;
            }
            if can_be_forgotten(plan, tally) && value.is_some() {
                tally.forgotten_copy_won = true;
                continue;
            }
            if can_be_stale(plan, tally) && value.is_some() {
                tally.stale_copy_won = true;
                continue;
            }
            let text = format!("`{}` was written in version {written}, and there is {value:?}", entry.name);
            return violated("no_entry_is_lost", text);
        }
    }
    Ok(())
}

/// In the end the data is what it would be if nothing had gone wrong.
pub fn data_is_as_without_faults(expected: &[(Key, Vec<u8>)], found: &[(Key, Vec<u8>)]) -> Check {
    const NAME: &str = "data_is_as_without_faults";
    let text = |(key, value): &(Key, Vec<u8>)| {
        format!("{key:?} with the value `{}`", String::from_utf8_lossy(value))
    };
    if let Some(missing) = expected.iter().find(|entry| !found.contains(entry)) {
        let instead = found.iter().find(|(key, _)| key.name == missing.0.name);
        let instead = instead.map_or_else(|| "nothing".to_owned(), text);
        return violated(NAME, format!("expected {}, found {instead}", text(missing)));
    }
    if let Some([twice, ..]) = found.windows(2).find(|pair| pair[0].0.name == pair[1].0.name) {
        return violated(NAME, format!("found {} twice", text(twice)));
    }
    match found.iter().find(|entry| !expected.contains(entry)) {
        Some(extra) => violated(NAME, format!("expected nothing, found {}", text(extra))),
        None => Ok(()),
    }
}
