//! What becomes of the entries.

use kv_migrations::kv::{Key, MemoryStore};

use super::{Verdict, violated};
use crate::migrations::{index_group, index_prefix, step_key};
use crate::network::Written;
use crate::plan::{Change, Plan, Planned};
use crate::table::{Seeded, Table};
use crate::tally::Tally;
use crate::value::{marked, version};
use crate::versions::Versions;

/// What is marked as applied is done, to every entry.
pub fn marked_is_done(plan: &Plan, planned: &Planned, truth: &MemoryStore) -> Verdict {
    let verdict =
        |what: String| violated("marked_is_done", format!("{} is marked as applied, but {what}", planned.id));
    let table = &plan.tables[planned.table];
    let lasting = || table.entries.iter().filter(|entry| entry.ttl.is_none());
    match planned.change {
        Change::Steps(steps) => {
            let missing =
                (0..steps).map(|step| step_key(planned.number, step)).find(|key| truth.value(key).is_none());
            missing.map_or(Ok(()), |key| verdict(format!("`{key}` is not written")))
        }
        Change::Backfill => {
            let of_entry = |entry: &Seeded| find(table, &entry.name, truth);
            let unmarked = lasting()
                .find(|entry| of_entry(entry).is_none_or(|value| marked(&value, planned.number).is_some()));
            unmarked.map_or(Ok(()), |entry| verdict(format!("`{}` has no mark", entry.name)))
        }
        Change::Fold => {
            let is_indexed = |entry: &Seeded| {
                let key = format!("{}{}", index_prefix(planned.number), index_group(&entry.name));
                let index = truth.value(&key).and_then(|index| String::from_utf8(index).ok());
                index.is_some_and(|index| index.contains(&format!("{:?}", entry.name)))
            };
            let missing = lasting().find(|entry| !is_indexed(entry));
            missing.map_or(Ok(()), |entry| verdict(format!("`{}` is not in the index", entry.name)))
        }
        Change::Rekey { .. } => {
            let is_moved = |entry: &Seeded| {
                let mut later = (planned.moves + 1..=table.moves).map(|moves| table.prefix(moves));
                let is_there = later.any(|prefix| truth.value(&format!("{prefix}{}", entry.name)).is_some());
                let old = format!("{}{}", planned.from, entry.name);
                is_there && (table.is_served || truth.value(&old).is_none())
            };
            let left = lasting().find(|entry| !is_moved(entry));
            left.map_or(Ok(()), |entry| verdict(format!("`{}` is not where it was to be moved", entry.name)))
        }
    }
}

/// The value of an entry, wherever it is by now.
fn find(table: &Table, name: &str, truth: &MemoryStore) -> Option<String> {
    let values = table.prefixes().filter_map(|prefix| truth.value(&format!("{prefix}{name}")));
    values.map(|value| String::from_utf8_lossy(&value).into_owned()).max_by_key(|value| version(value))
}

/// No entry is deleted unless it is, at least as new, under another of its keys.
///
/// One exception is counted only. Two runs of a re-key, at two places within KV's delay, can copy the same entry, one of
/// them as it was before it was written a moment ago: then the older copy can win, and looks like something newer that
/// the service wrote. It can also come when the other run has deleted the old entry already: then that is seen at the end.
pub fn an_entry_is_deleted_only_if_it_is_elsewhere(
    plan: &Plan,
    versions: &Versions,
    written: &Written<'_>,
    truth: &MemoryStore,
    tally: &mut Tally,
) -> Verdict {
    let Some(before) = written.deleted else { return Ok(()) };
    for (number, table) in plan.tables.iter().enumerate() {
        let name = table.prefixes().find_map(|prefix| written.key.strip_prefix(&prefix));
        let Some(index) = name.and_then(|name| table.entries.iter().position(|entry| entry.name == name))
        else {
            continue;
        };
        let entry = &table.entries[index];
        // What the service is about to write under the other key, too, is nobody else's concern.
        let written_everywhere = Some(versions.written(number, index));
        let deleted = version(&String::from_utf8_lossy(before)).min(written_everywhere);
        let elsewhere = find(table, &entry.name, truth).and_then(|value| version(&value));
        if elsewhere < deleted && entry.ttl.is_none() {
            if plan.has_stale_copies() && elsewhere.is_some() {
                tally.stale_copy_won = true;
                return Ok(());
            }
            let (key, value) = (written.key, String::from_utf8_lossy(before));
            return violated(
                "an_entry_is_deleted_only_if_it_is_elsewhere",
                format!(
                    "`{key}` with the value `{value}` was deleted, and is nowhere else; there is {elsewhere:?}"
                ),
            );
        }
    }
    Ok(())
}

/// Who reads both keys, first the new one, finds every entry.
pub fn a_reader_of_both_keys_finds_it(name: &str, is_found: bool) -> Verdict {
    if is_found {
        return Ok(());
    }
    violated("a_reader_of_both_keys_finds_it", format!("`{name}` was found under neither of its keys"))
}

/// In the end everything is applied.
pub fn everything_is_applied(plan: &Plan, truth: &MemoryStore) -> Verdict {
    for planned in &plan.migrations {
        let value = truth.value(&planned.marker());
        if value.as_deref() != Some(b"true") {
            let value = value.map(|value| String::from_utf8_lossy(&value).into_owned());
            return violated("everything_is_applied", format!("the marker of {} is {value:?}", planned.id));
        }
    }
    Ok(())
}

/// In the end every entry is there, at least as new as it was written last, with the same exception.
pub fn no_entry_is_lost(plan: &Plan, versions: &Versions, truth: &MemoryStore, tally: &mut Tally) -> Verdict {
    for (number, table) in plan.tables.iter().enumerate() {
        for (index, entry) in table.entries.iter().enumerate().filter(|(_, entry)| entry.ttl.is_none()) {
            let value = find(table, &entry.name, truth);
            let expected = versions.written(number, index);
            if value.as_deref().and_then(version).is_none_or(|version| version < expected) {
                if plan.has_stale_copies() && value.is_some() {
                    tally.stale_copy_won = true;
                    continue;
                }
                return violated(
                    "no_entry_is_lost",
                    format!("`{}` was written in version {expected}, and there is {value:?}", entry.name),
                );
            }
        }
    }
    Ok(())
}

/// In the end all is as it would be if nothing had happened.
pub fn all_is_as_without_faults(expected: &[(Key, Vec<u8>)], found: &[(Key, Vec<u8>)]) -> Verdict {
    const NAME: &str = "all_is_as_without_faults";
    let text = |entry: &(Key, Vec<u8>)| {
        format!("{:?} with the value `{}`", entry.0, String::from_utf8_lossy(&entry.1))
    };
    if let Some(missing) = expected.iter().find(|entry| !found.contains(entry)) {
        let instead = found.iter().find(|(key, _)| key.name == missing.0.name);
        let instead = instead.map_or_else(|| "nothing".to_owned(), text);
        return violated(NAME, format!("there should be {}, but there is {instead}", text(missing)));
    }
    match found.iter().find(|entry| !expected.contains(entry)) {
        Some(extra) => violated(NAME, format!("there should be nothing like {}", text(extra))),
        None => Ok(()),
    }
}
