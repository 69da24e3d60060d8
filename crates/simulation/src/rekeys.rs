//! The re-keys of a world, as a user would write them.

use std::sync::Arc;

use kv_migrations::kv::{Key, Kv, Store};
use kv_migrations::{Collisions, Migration, MovingEntry, Record, Rekey, Result};

use crate::context::Context;
use crate::moving::{Moving, TABLES, group_of, group_of_version, label, without_label};
use crate::other_namespace::from_elsewhere;
use crate::plan::{PlannedMigration, Seal};
use crate::value::{SEALED, sealed, unsealed, version};

/// Moves all entries of a table to keys with its next prefix.
pub fn whole(planned: &PlannedMigration, has_inverse: bool) -> Migration<Context> {
    let id = planned.id.clone();
    if has_inverse {
        return with_seal(
            planned,
            "Moves all entries",
            Rekey::prefix(planned.from.clone(), planned.to.clone()),
        );
    }
    let (from, to) = (planned.from.clone(), planned.to.clone());
    let rekey =
        Rekey::new(from.clone(), move |key: &Key| Some(format!("{to}{}", key.name.strip_prefix(&from)?)));
    match planned.seal {
        Seal::None => Migration::rekey(id, "Moves all entries, without a way back", rekey),
        seal => {
            let rekey = rekey.changing(async move |entry, _, context: &Context| change(entry, context, seal));
            Migration::rekey(id, "Seals and moves all entries, without a way back", rekey)
        }
    }
}

/// Copies all entries of a table to keys with its next prefix.
pub fn copying(planned: &PlannedMigration, other: &Arc<impl Store + 'static>) -> Migration<Context> {
    with_seal(planned, "All entries are at new keys, too", by_prefix(planned, other).copying())
}

/// Deletes the old keys of all entries of a table that are at new keys.
pub fn deleting(planned: &PlannedMigration, other: &Arc<impl Store + 'static>) -> Migration<Context> {
    let rekey = by_prefix(planned, other).deleting();
    Migration::rekey(planned.id.clone(), "No entry is at an old key", rekey)
}

/// Moves all entries to the next prefix of their table, into the namespace that it is in.
fn by_prefix(planned: &PlannedMigration, other: &Arc<impl Store + 'static>) -> Rekey {
    let [old, new] = [&planned.from, &planned.to].map(|prefix| from_elsewhere(prefix));
    let own = |prefix: Option<&str>, seen: &str| prefix.unwrap_or(seen).to_owned();
    let mut rekey = Rekey::prefix(own(old, &planned.from), own(new, &planned.to));
    if old.is_some() {
        rekey = rekey.in_namespace(other.clone());
    }
    if new.is_some() {
        rekey = rekey.into_namespace(other.clone());
    }
    rekey
}

/// Moves all entries of a table that it has for itself.
pub fn moving(
    planned: &PlannedMigration,
    moving: Moving,
    other: &Arc<impl Store + 'static>,
) -> Migration<Context> {
    let (from, to) = (planned.from.clone(), planned.to.clone());
    let new_key = {
        let (from, to) = (from.clone(), to.clone());
        move |name: &str, table: usize, group: u64| {
            let name = name.strip_prefix(&from)?;
            Some(format!("{to}{}{name}", label(table, group)))
        }
    };
    let old_key = {
        let (from, to) = (from.clone(), to.clone());
        move |key: &Key| Some(format!("{from}{}", without_label(key.name.strip_prefix(&to)?)?))
    };
    let load = async |_: &Kv, context: &Context| Ok(context.random.below(TABLES));
    match moving {
        Moving::ByValue => {
            let rekey = Rekey::by_value(from, move |record: &Record| {
                Ok(new_key(record.name(), 0, group_of_value(record)?))
            });
            with_seal(planned, "Moves all entries to keys of their groups", rekey.with_inverse(to, old_key))
        }
        Moving::IntoNamespace | Moving::FromNamespace => {
            let text = "Moves all entries between two namespaces";
            with_seal(planned, text, by_prefix(planned, other))
        }
        Moving::Prefixes => {
            let other = (from.to_uppercase(), to.to_uppercase());
            with_seal(planned, "Moves all entries of two prefixes", Rekey::prefixes([(from, to), other]))
        }
        Moving::Skipping | Moving::KeepingNew => {
            let is_skipping = moving == Moving::Skipping;
            let collisions = if is_skipping { Collisions::Skip } else { Collisions::KeepNew };
            let rekey = to_new_names(from, to, moving).with_collisions(collisions);
            with_seal(planned, "Moves all entries that can be moved", rekey)
        }
        Moving::Choosing => {
            let compare = |a: &Record, b: &Record| Ok(version_of(a)?.cmp(&version_of(b)?));
            // After a new start, the entry that was chosen stands at the new key.
            let rekey = to_new_names(from, to, moving).with_collisions(Collisions::KeepNew);
            with_seal(planned, "Moves the newest of all entries", rekey.choosing(compare))
        }
        Moving::ByTable => {
            let rekey = Rekey::by_table(from.clone(), load, move |key: &Key, table: &usize, _: &Context| {
                let name = key.name.strip_prefix(&from).unwrap_or_default();
                Ok(new_key(&key.name, *table, group_of(name)))
            });
            let rekey = rekey.with_inverse(to, move |key: &Key, _: &usize, _: &Context| Ok(old_key(key)));
            with_table(planned, rekey)
        }
        Moving::ByValueAndTable => {
            let rekey =
                Rekey::by_value_and_table(from, load, move |record: &Record, table: &usize, _: &Context| {
                    Ok(new_key(record.name(), *table, group_of_value(record)?))
                });
            let rekey = rekey.with_inverse(to, move |key: &Key, _: &usize, _: &Context| Ok(old_key(key)));
            with_table(planned, rekey)
        }
    }
}

fn to_new_names(from: String, to: String, moving: Moving) -> Rekey {
    Rekey::new(from.clone(), move |key: &Key| {
        Some(format!("{to}{}", moving.new_name(key.name.strip_prefix(&from)?)))
    })
}

fn version_of(record: &Record) -> Result<u64> {
    let version = version(&String::from_utf8_lossy(record.value()));
    Ok(version.ok_or("it is not the value of an entry")?)
}

fn group_of_value(record: &Record) -> Result<u64> {
    Ok(group_of_version(version_of(record)?))
}

fn with_seal(planned: &PlannedMigration, text: &'static str, rekey: Rekey) -> Migration<Context> {
    let id = planned.id.clone();
    match planned.seal {
        Seal::None => Migration::rekey(id, text, rekey),
        seal => {
            let rekey = rekey
                .changing(async move |entry, _, context: &Context| change(entry, context, seal))
                .changing_back(async |entry, _, _| change_back(entry));
            Migration::rekey(id, text, rekey)
        }
    }
}

fn with_table(planned: &PlannedMigration, rekey: Rekey<Context, usize>) -> Migration<Context> {
    let (id, text) = (planned.id.clone(), "Moves all entries to keys that a table says");
    match planned.seal {
        Seal::None => Migration::rekey(id, text, rekey),
        seal => {
            let rekey = rekey
                .changing(async move |entry, _, context: &Context| change(entry, context, seal))
                .changing_back(async |entry, _, _| change_back(entry));
            Migration::rekey(id, text, rekey)
        }
    }
}

/// Seals an entry.
fn change(entry: MovingEntry, context: &Context, seal: Seal) -> Result<MovingEntry> {
    let value = sealed(entry.value(), seal.nonce(&context.random));
    let has_metadata = entry.metadata().is_some();
    let entry = entry.with_value(value);
    if has_metadata { Ok(entry) } else { entry.with_metadata(&SEALED.trim_matches('"')) }
}

/// Takes the last seal off.
fn change_back(entry: MovingEntry) -> Result<MovingEntry> {
    let value = unsealed(entry.value()).ok_or("it is not sealed")?.to_vec();
    let is_ours = entry.metadata().is_some_and(|metadata| metadata.as_json() == SEALED);
    let entry = entry.with_value(value);
    Ok(if is_ours { entry.clear_metadata() } else { entry })
}
