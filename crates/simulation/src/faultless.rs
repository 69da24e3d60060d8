//! What comes of the same migrations if nothing goes wrong.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use kv_migrations::clock::Clock;
use kv_migrations::kv::{Expiration, Key, MemoryStore, Metadata, PutOptions, StoreExt};
use kv_migrations::testing::ManualClock;
use kv_migrations::testing::MemoryLog;
use kv_migrations::{Error, Migration, Runner};

use crate::migrations::Context;
use crate::plan::{Plan, SERVICE};
use crate::time::{Time, since_1970};
use crate::versions::Versions;

/// How long after everything what expires soon has expired.
pub const AFTER: Duration = Duration::from_hours(2);

/// All entries but the markers, when the migrations have been made to each entry in its last version.
///
/// # Errors
/// If they fail even then.
pub fn outcome(
    plan: &Plan,
    migrations: Arc<[Migration<Context>]>,
    versions: &Versions,
) -> Result<Vec<(Key, Vec<u8>)>, String> {
    let clock = ManualClock::starting_at(Time::new().clock(0).now());
    let store = MemoryStore::with_clock(clock.clone());
    for (number, table) in plan.tables.iter().enumerate() {
        for (index, entry) in table.entries.iter().enumerate() {
            let options = options(entry.metadata, entry.ttl, since_1970(clock.now()) / 1_000);
            let key = format!("{}{}", table.prefix(0), entry.name);
            let value = entry.value(versions.written(number, index));
            store.put(&key, &value, &options).now_or_never();
        }
    }
    let runner = Runner::new(store.clone(), SERVICE, migrations).map_err(|error| error.to_string())?;
    let runner = runner.with_clock(Arc::new(clock.clone())).with_log(Arc::new(MemoryLog::default()));
    migrate(&runner, &clock).map_err(|error| error.to_string())?;
    clock.advance(AFTER);
    Ok(data(&store))
}

fn migrate(runner: &Runner<Context>, clock: &ManualClock) -> Result<(), Error> {
    let context = Context { run: 0, witness: None };
    // In memory nothing waits.
    while let Some(report) = runner.run_pending(&context).now_or_never().transpose()? {
        if report.is_finished() {
            break;
        }
        clock.advance(report.retry_after.unwrap_or_default());
    }
    Ok(())
}

/// What is stored with an entry that expires in so many seconds from this time.
pub fn options(metadata: Option<&str>, ttl: Option<u64>, now: i64) -> PutOptions {
    let expires = |ttl| Expiration::At(u64::try_from(now).unwrap_or(0) + ttl);
    PutOptions::new().with_metadata(metadata.map(Metadata::from_json)).with_expiration(ttl.map(expires))
}

/// All entries of a store but the markers.
pub fn data(store: &MemoryStore) -> Vec<(Key, Vec<u8>)> {
    let mut entries = store.entries();
    entries.retain(|(key, _)| !key.name.starts_with("migration_"));
    entries
}
