//! The service whose entries are re-keyed: it writes both keys of an entry, and reads the new key first and then the old.

use std::time::Duration;

use kv_migrations::clock::Clock;
use kv_migrations::kv::{Entry, Metadata, PutOptions, StoreExt};

use crate::deployment::KnownKeys;
use crate::invariants::entries_are_found_under_one_of_their_keys;
use crate::network::Binding;
use crate::plan::Plan;
use crate::situation::Situation;
use crate::time::start;
use crate::world::World;

/// The longest time until all locations see a write.
const DELAY: Duration = Duration::from_mins(1);

/// Reads and writes the entries of one table at one location, as the guide asks for: each entry is written at one
/// location only.
pub async fn serve(world: World, table: usize, location: usize) {
    let random = &world.random;
    let is_live = world.plan.situation == Situation::LiveService;
    let actions = if is_live { random.pick([10, 25, 60]) } else { random.pick([0, 3, 10, 25]) };
    for _ in 0..actions {
        let entries = &world.plan.tables[table].entries;
        let index = random.below(entries.len());
        let is_own = Plan::location_of_entry(index) == location;
        if entries[index].ttl.is_none() {
            if is_own && random.chance(500) {
                write(&world, table, index, location).await;
            } else {
                read(&world, table, index, location).await;
            }
        }
        let max_pause = random.pick([100, 5_000, 60_000]);
        world.time.sleep(random.milliseconds(0..=max_pause)).await;
    }
}

async fn write(world: &World, table: usize, index: usize, location: usize) {
    let entry = &world.plan.tables[table].entries[index];
    let binding = world.binding(location, "the service".to_owned());
    let version = world.versions.begin(table, index);
    let options = PutOptions::new().with_metadata(entry.metadata.map(Metadata::from_json));
    let mut keys = keys(world, table, index);
    if world.random.chance(500) {
        keys.reverse();
    }
    for key in keys {
        put(world, &binding, &key, &entry.value(version), &options).await;
    }
    world.versions.end(table, index);
    world.monitor.count(|tally| tally.service_writes += 1);
}

/// Repeats a put until it succeeds.
async fn put(world: &World, binding: &Binding, key: &str, value: &[u8], options: &PutOptions) {
    while binding.put(key, value, options).await.is_err() {
        world.time.sleep(Duration::from_millis(1_100)).await;
    }
}

async fn read(world: &World, table: usize, index: usize, location: usize) {
    let binding = world.binding(location, "the service".to_owned());
    let mut found: Option<Entry> = None;
    let began = world.time.now();
    for key in keys(world, table, index) {
        match binding.get(&key).await {
            Ok(entry) => found = found.or(entry),
            // A service would ask again.
            Err(_) => return,
        }
    }
    let entry = &world.plan.tables[table].entries[index];
    // This location may not see yet what was written a moment before the start.
    if !entry.is_fresh || began >= start() + DELAY {
        world.monitor.check(entries_are_found_under_one_of_their_keys(&entry.name, found.as_ref()));
    }
}

/// The keys of an entry that this release knows, the newest first.
fn keys(world: &World, table: usize, index: usize) -> Vec<String> {
    let table = &world.plan.tables[table];
    let known = match world.deployment.known_keys {
        KnownKeys::Both => table.moves + 1,
        KnownKeys::New => 1,
    };
    table.prefixes().take(known).map(|prefix| format!("{prefix}{}", table.entries[index].name)).collect()
}
