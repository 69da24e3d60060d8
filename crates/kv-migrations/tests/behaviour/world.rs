//! Long migrations in a world where every request can be cut off: entries to migrate, runs over as many requests as it
//! takes, and what the namespace holds in the end.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use kv_migrations::kv::{Expiration, Key, MemoryStore, Metadata, PutOptions, Store, StoreExt};
use kv_migrations::testing::ManualClock;
use kv_migrations::testing::MemoryLog;
use kv_migrations::{Budget, Error, Migration, RunReport, Runner};

use crate::service::start;

/// One entry that is there from the start.
#[derive(Clone)]
pub struct Seed {
    pub key: String,
    pub value: Vec<u8>,
    pub metadata: Option<&'static str>,
    /// In seconds from the start.
    pub ttl: Option<u64>,
}

/// On one line.
impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, value, metadata, ttl } = self;
        write!(f, "{:.20}…={}B {metadata:?} {ttl:?}", key, value.len())
    }
}

impl Seed {
    pub fn new(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), value: value.into(), metadata: None, ttl: None }
    }
}

/// A namespace and a clock.
#[derive(Clone)]
pub struct World {
    pub store: MemoryStore,
    pub clock: ManualClock,
    pub budget: Budget,
}

impl World {
    pub fn of(seeds: &[Seed], operations: u64) -> Self {
        let clock = ManualClock::starting_at(start());
        let store = MemoryStore::with_clock(clock.clone());
        for seed in seeds {
            let options = PutOptions::new()
                .with_metadata(seed.metadata.map(Metadata::from_json))
                .with_expiration(seed.ttl.map(Expiration::After));
            block_on(store.put(&seed.key, &seed.value, &options)).expect("KV takes it");
        }
        let budget = Budget::default().with_operations(operations);
        Self { store, clock, budget }
    }

    pub fn runner_on(&self, store: impl Store + 'static, migration: Migration) -> Runner {
        self.runner_of(store, vec![migration])
    }

    pub fn runner_of(&self, store: impl Store + 'static, migrations: Vec<Migration>) -> Runner {
        Runner::new(store, "sim", migrations)
            .expect("it can be registered")
            .with_clock(Arc::new(self.clock.clone()))
            .with_log(Arc::new(MemoryLog::default()))
            .with_budget(self.budget)
    }

    /// One request, and the wait that its answer asks for.
    pub fn request(&self, runner: &Runner) -> Result<RunReport, Error> {
        let report = block_on(runner.run_pending(&()))?;
        self.clock.advance(report.retry_after.unwrap_or_default());
        Ok(report)
    }

    /// Requests until it is finished, or fails.
    pub fn drive(&self, runner: &Runner) -> Result<Vec<RunReport>, Error> {
        const MOST: usize = 20_000;
        let mut reports = Vec::new();
        while reports.len() < MOST {
            let report = self.request(runner)?;
            let is_finished = report.is_finished();
            reports.push(report);
            if is_finished {
                return Ok(reports);
            }
        }
        panic!("it does not come to an end: {:?}", reports.last());
    }

    /// Rolls back until that is finished, or fails.
    pub fn undo(&self, runner: &Runner) -> Result<(), Error> {
        for _ in 0..20_000 {
            let report = block_on(runner.rollback("long", &()))?;
            self.clock.advance(report.retry_after.unwrap_or_default());
            if report.is_finished() {
                return Ok(());
            }
        }
        panic!("the rollback does not come to an end");
    }

    /// All that is there once what expires soon has expired, but for the marker's metadata, which tells times.
    pub fn outcome(&self) -> Vec<(Key, Vec<u8>)> {
        self.clock.advance(Duration::from_hours(1));
        let mut entries = self.store.entries();
        for (key, _) in &mut entries {
            if key.name.starts_with("migration_") {
                key.metadata = None;
            }
        }
        entries
    }
}
