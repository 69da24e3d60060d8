//! The service whose entries are re-keyed: it writes both keys of an entry, or the old one alone, and reads the new key first
//! and then the old.

use std::time::Duration;

use kv_migrations::clock::Clock;
use kv_migrations::kv::{Entry, Metadata, PutOptions, StoreExt};

use crate::deployment::KnownKeys;
use crate::invariants::entries_are_found_under_one_of_their_keys;
use crate::moving::{Moving, group_of_version, label};
use crate::plan::{Plan, Seal};
use crate::situation::Situation;
use crate::time::{DELAY, start};
use crate::value::{SEALED, sealed};
use crate::world::World;

/// The time after which the service repeats what KV has refused.
const BEFORE_NEXT_TRY: Duration = Duration::from_millis(1_100);

/// Reads and writes the entries of one table at one location, as docs/long-migrations.md asks for: each entry is written at one
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
            let may_write = is_own && is_written(&world, table, index);
            if may_write && random.chance(500) {
                write(&world, table, index, location).await;
            } else {
                read(&world, table, index, location).await;
            }
        }
        let max_pause = random.pick([100, 5_000, 60_000]);
        world.time.sleep(random.milliseconds(0..=max_pause)).await;
    }
}

/// Whether this release writes an entry. Where it knows the old key alone, only as long as the entry is there.
fn is_written(world: &World, table: usize, index: usize) -> bool {
    let table = &world.plan.tables[table];
    let old = table.old_key(&table.entries[index].name);
    !table.has_old_writes || world.namespace.truth().value(&old).is_some()
}

async fn write(world: &World, table: usize, index: usize, location: usize) {
    let binding = world.binding(location, "the service".to_owned());
    let version = world.versions.begin(table, index);
    let mut writes = writes(world, table, index, version);
    if world.random.chance(500) {
        writes.reverse();
    }
    for (key, value, options) in &writes {
        while binding.put(key, value, options).await.is_err() {
            world.time.sleep(BEFORE_NEXT_TRY).await;
        }
    }
    let is_outdated = |key: &String| writes.iter().all(|(written, ..)| written != key);
    let before = new_key(world, table, index, version.saturating_sub(1));
    if !world.plan.tables[table].has_old_writes && is_outdated(&before) {
        while binding.delete(&before).await.is_err() {
            world.time.sleep(BEFORE_NEXT_TRY).await;
        }
    }
    world.versions.end(table, index, world.time.now());
    world.monitor.count(|tally| tally.service_writes += 1);
}

/// What this release of the service writes for a version of an entry.
fn writes(world: &World, table: usize, index: usize, version: u64) -> Vec<(String, Vec<u8>, PutOptions)> {
    let this = &world.plan.tables[table];
    let entry = &this.entries[index];
    let (value, options) = (entry.value(version), |metadata: Option<&str>| {
        PutOptions::new().with_metadata(metadata.map(Metadata::from_json))
    });
    let (new_value, new_metadata) = match world.plan.seal_of(table) {
        Seal::None => (value.clone(), entry.metadata),
        seal => (sealed(&value, seal.nonce(&world.random)), entry.metadata.or(Some(SEALED))),
    };
    let new = (new_key(world, table, index, version), new_value, options(new_metadata));
    let old = (this.old_key(&entry.name), value, options(entry.metadata));
    match world.deployment.known_keys {
        KnownKeys::Both if this.has_old_writes => vec![old],
        KnownKeys::Both => vec![new, old],
        KnownKeys::New => vec![new],
    }
}

/// The new key of an entry in this version.
fn new_key(world: &World, table: usize, index: usize, version: u64) -> String {
    let table = &world.plan.tables[table];
    let name = &table.entries[index].name;
    let prefix = table.prefix(table.moves);
    match table.moving {
        Some(Moving::ByValue) => format!("{prefix}{}{name}", label(0, group_of_version(version))),
        _ => format!("{prefix}{name}"),
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
    let is_visible = !entry.is_fresh || began >= start() + DELAY;
    // Nor to which new key the service has moved an entry a moment ago.
    let is_in_place = world.plan.tables[table].moving.is_none_or(|moving| !moving.sees_values())
        || world.versions.is_settled(table, index, began - DELAY);
    if is_visible && is_in_place && !world.versions.is_given_up(table, index) {
        world.monitor.check(entries_are_found_under_one_of_their_keys(&entry.name, found.as_ref()));
    }
}

/// The keys of an entry that this release knows, the newest first.
fn keys(world: &World, table: usize, index: usize) -> Vec<String> {
    let table = &world.plan.tables[table];
    let name = &table.entries[index].name;
    match world.deployment.known_keys {
        KnownKeys::Both => table.keys(name).collect(),
        KnownKeys::New => table.keys_after(table.moves, name),
    }
}
