//! The service whose entries are re-keyed: it writes both keys, and reads the new one first and then the old.

use kv_migrations::kv::{Entry, Metadata, PutOptions, StoreExt};

use crate::invariants::a_reader_of_both_keys_finds_it;
use crate::network::Binding;
use crate::world::World;

/// After how many milliseconds a write is seen everywhere.
const DELAY: i64 = 60_000;

/// Reads and writes the entries of one table, as the guide asks for: each entry is written at one location.
pub async fn serve(world: World, table: usize, location: usize) {
    let dice = &world.dice;
    for _ in 0..dice.pick([0, 3, 10, 25]) {
        let entries = &world.plan.tables[table].entries;
        let index = dice.below(entries.len());
        let is_own = index % world.plan.locations == location;
        if entries[index].ttl.is_none() {
            if is_own && dice.chance(500) {
                write(&world, table, index, location).await;
            } else {
                read(&world, table, index, location).await;
            }
        }
        let most = dice.pick([100, 5_000, 60_000]);
        world.time.sleep(i64::try_from(dice.between(0..=most)).unwrap_or(0)).await;
    }
}

async fn write(world: &World, table: usize, index: usize, location: usize) {
    let entry = &world.plan.tables[table].entries[index];
    let binding = world.binding(location, "the service".to_owned());
    let version = world.versions.begin(table, index);
    let metadata = entry.metadata.map(Metadata::from_json);
    let options = PutOptions::new().with_metadata(metadata);
    let mut keys = keys(world, table, index);
    if world.dice.chance(500) {
        keys.reverse();
    }
    for key in keys {
        put(world, &binding, &key, &entry.value(version), &options).await;
    }
    world.versions.end(table, index);
}

/// Until it is written.
async fn put(world: &World, binding: &Binding, key: &str, value: &[u8], options: &PutOptions) {
    while binding.put(key, value, options).await.is_err() {
        world.time.sleep(1_100).await;
    }
}

async fn read(world: &World, table: usize, index: usize, location: usize) {
    let binding = world.binding(location, "the service".to_owned());
    let mut found: Option<Entry> = None;
    let began = world.time.elapsed();
    for key in keys(world, table, index) {
        match binding.get(&key).await {
            Ok(entry) => found = found.or(entry),
            // It would ask again.
            Err(_) => return,
        }
    }
    let entry = &world.plan.tables[table].entries[index];
    // What was written a moment before the beginning is not seen here yet.
    if !entry.is_fresh || began >= DELAY {
        world.witness.check(a_reader_of_both_keys_finds_it(&entry.name, found.is_some()));
    }
}

/// The new one, and the old one.
fn keys(world: &World, table: usize, index: usize) -> Vec<String> {
    let table = &world.plan.tables[table];
    table.prefixes().map(|prefix| format!("{prefix}{}", table.entries[index].name)).collect()
}
