//! What the same migrations lead to if nothing goes wrong.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::executor::block_on;
use kv_migrations::clock::Clock;
use kv_migrations::kv::{Expiration, Key, MemoryStore, Metadata, PutOptions, StoreExt};
use kv_migrations::testing::{ManualClock, MemoryLog};
use kv_migrations::{Error, Runner};

use crate::context::Context;
use crate::migrations;
use crate::other_namespace::from_elsewhere;
use crate::plan::{Plan, SERVICE};
use crate::random::Random;
use crate::table::{InitialEntry, STANDING};
use crate::time::{seconds, start};
use crate::versions::Versions;

/// The time after the end of a world in which all entries with a short TTL expire.
pub const AFTERWARDS: Duration = Duration::from_hours(2);

/// All entries but the markers, once the migrations have run over each entry in its last version.
///
/// # Errors
/// If the migrations fail even then.
pub fn outcome(plan: &Plan, versions: &Versions) -> Result<Vec<(Key, Vec<u8>)>, String> {
    let clock = ManualClock::starting_at(start());
    let store = MemoryStore::with_clock(clock.clone());
    for (number, table) in plan.tables.iter().enumerate() {
        for (index, entry) in table.entries.iter().enumerate() {
            let key = table.old_key(&entry.name);
            let version = if entry.has_standing { entry.version } else { versions.written(number, index) };
            let put = |key: &str, version, options: &PutOptions| {
                block_on(store.put(key, &entry.value(version), options)).map_err(|error| error.to_string())
            };
            put(&key, version, &options(entry, clock.now()))?;
            for key in table.standing_keys(entry) {
                put(&key, STANDING, &PutOptions::new())?;
            }
        }
    }
    let migrations = migrations::first(plan, plan.migrations.len(), store.clone());
    let runner = Runner::new(store.clone(), SERVICE, migrations).map_err(|error| error.to_string())?;
    let runner = runner.with_clock(Arc::new(clock.clone())).with_log(Arc::new(MemoryLog::default()));
    migrate(&runner, &clock).map_err(|error| error.to_string())?;
    clock.advance(AFTERWARDS);
    Ok(data(&store))
}

fn migrate(runner: &Runner<Context>, clock: &ManualClock) -> Result<(), Error> {
    let context = Context { run: 0, monitor: None, random: Random::from_seed(0) };
    loop {
        let report = block_on(runner.run_pending(&context))?;
        if report.is_finished() {
            return Ok(());
        }
        clock.advance(report.retry_after.unwrap_or_default());
    }
}

/// What is stored with an entry that is written at this time.
pub fn options(entry: &InitialEntry, time: SystemTime) -> PutOptions {
    let expiration = entry.ttl.map(|ttl| Expiration::At(seconds(time) + ttl));
    PutOptions::new().with_metadata(entry.metadata.map(Metadata::from_json)).with_expiration(expiration)
}

/// All entries of a store but the markers, and what a re-key between two namespaces leaves there for a day at most.
pub fn data(store: &MemoryStore) -> Vec<(Key, Vec<u8>)> {
    let mut entries = store.entries();
    entries.retain(|(key, _)| !from_elsewhere(&key.name).unwrap_or(&key.name).starts_with("migration_"));
    entries
}
