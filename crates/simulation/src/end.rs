//! What is there at the end of a world, in a form that can be compared with what would be there without any fault.

use std::collections::BTreeSet;

use kv_migrations::kv::{Key, MemoryStore};

use crate::moving::Moving;
use crate::plan::Plan;
use crate::table::Table;
use crate::value::without_nonces;

/// A key, and its value.
pub type Data = (Key, Vec<u8>);

/// The entries without what is random in them: the nonces of seals, and which table a re-key has loaded.
pub fn without_chance(plan: &Plan, data: Vec<Data>) -> Vec<Data> {
    let comparable = |(mut key, value): Data| {
        if let Some((place, _)) = loaded_table(plan, &key.name) {
            key.name.replace_range(place..=place, "0");
        }
        (key, without_nonces(&value))
    };
    data.into_iter().map(comparable).collect()
}

/// The tables that the re-key of this table of entries has mapped by.
pub fn loaded_tables(plan: &Plan, table: &Table, data: &[Data]) -> BTreeSet<u8> {
    let prefix = table.prefix(1);
    let own = data.iter().filter(|(key, _)| key.name.starts_with(&prefix));
    own.filter_map(|(key, _)| loaded_table(plan, &key.name)).map(|(_, loaded)| loaded).collect()
}

/// Where a key tells which table it comes from, and which one that is.
fn loaded_table(plan: &Plan, key: &str) -> Option<(usize, u8)> {
    let mut tables = plan.tables.iter().filter(|table| table.moving.is_some_and(Moving::has_table));
    let place = tables.find_map(|table| {
        let prefix = table.prefix(1);
        key.starts_with(&prefix).then_some(prefix.len())
    })?;
    Some((place, *key.as_bytes().get(place)?))
}

/// The keys that the marker of a migration reports as passed over.
pub fn reported_keys(truth: &MemoryStore, marker: &str) -> String {
    let found = truth.entries().into_iter().find(|(key, _)| key.name == marker);
    let metadata = found.and_then(|(key, _)| key.metadata);
    metadata.map_or_else(String::new, |metadata| metadata.as_json().to_owned())
}
