//! A service to be put to the test: its store, its clock, its log, and the migrations that a test gives it.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::executor::block_on;
use kv_migrations::kv::{KvError, MemoryStore, Metadata, PutOptions, Store, StoreExt};
use kv_migrations::testing::ManualClock;
use kv_migrations::testing::MemoryLog;
use kv_migrations::{BoxError, Error, Failure, Migration, Runner};

/// When the clock of every test starts.
pub const START: &str = "2026-11-22T10:48:28.706Z";

/// The same as a time.
pub fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_795_344_508_706)
}

#[derive(Clone)]
pub struct Service {
    pub store: MemoryStore,
    pub clock: ManualClock,
    pub log: MemoryLog,
    prefix: &'static str,
}

impl Service {
    pub fn new() -> Self {
        let clock = ManualClock::starting_at(start());
        let store = MemoryStore::with_clock(clock.clone());
        Self { store, clock, log: MemoryLog::default(), prefix: "my-service" }
    }

    /// Another service in the same namespace.
    pub fn neighbour(&self, prefix: &'static str) -> Self {
        Self { prefix, log: MemoryLog::default(), ..self.clone() }
    }

    pub fn runner(&self, migrations: Vec<Migration>) -> Runner {
        self.runner_on(self.store.clone(), migrations)
    }

    pub fn runner_on(&self, store: impl Store + 'static, migrations: Vec<Migration>) -> Runner {
        Runner::new(store, self.prefix, migrations)
            .expect("these migrations can be registered")
            .with_clock(Arc::new(self.clock.clone()))
            .with_log(Arc::new(self.log.clone()))
    }

    /// Runs these, all of which must succeed, over as many runs as it takes, and gives the ids of those that ran.
    pub fn migrate(&self, migrations: Vec<Migration>) -> Vec<String> {
        let runner = self.runner(migrations);
        let mut ran = Vec::new();
        loop {
            let report = block_on(runner.run_pending(&())).expect("they succeed");
            ran.extend_from_slice(&report.ran);
            if report.is_finished() {
                return ran;
            }
        }
    }

    /// Puts a value, and JSON as its metadata.
    pub fn put(&self, key: &str, value: &str, metadata: Option<&str>) {
        let options = PutOptions::new().with_metadata(metadata.map(Metadata::from_json));
        block_on(self.store.put(key, value.as_bytes(), &options)).expect("KV would take it");
    }

    pub fn text(&self, key: &str) -> Option<String> {
        self.store.value(key).map(|value| String::from_utf8(value).expect("it is text"))
    }

    /// The metadata of a marker.
    pub fn marker(&self, id: &str) -> Option<String> {
        let name = format!("migration_{}_{id}", self.prefix);
        let entries = self.store.entries().into_iter();
        let marker = entries.map(|(key, _)| key).find(|key| key.name == name)?;
        Some(marker.metadata?.as_json().to_owned())
    }
}

/// Writes `done/{id}`, and deletes it again.
pub fn good(id: &'static str) -> Migration {
    Migration::new(id, format!("Does {id}"), async move |kv, ()| {
        Ok(kv.put(&format!("done/{id}"), "true").await?)
    })
    .with_down(async move |kv, ()| Ok(kv.delete(&format!("done/{id}")).await?))
}

/// Writes `half`, and then fails with `boom`.
pub fn failing(id: &'static str) -> Migration {
    Migration::new(id, "Fails half-way", async |kv, ()| {
        kv.put("half", "done").await?;
        Err(BoxError::from("boom"))
    })
}

/// Does nothing.
pub fn quiet(id: impl Into<String>) -> Migration {
    Migration::new(id.into(), "", async |_, ()| Ok(()))
}

pub fn ids(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// The failure that a run must have ended in.
pub fn failure<T: std::fmt::Debug>(result: Result<T, Error>) -> Failure {
    match result {
        Err(Error::Failed(failure)) => *failure,
        other => panic!("a migration should have failed: {other:?}"),
    }
}

/// A service with so many users, from `user_00000` on.
pub fn filled(users: u32) -> Service {
    let service = Service::new();
    for number in 0..users {
        service.store.insert(&format!("user_{number:05}"), "x");
    }
    service
}

/// Any error at all, as what a migration fails with.
pub fn error_text<T: std::fmt::Debug>(result: Result<T, KvError>) -> String {
    result.expect_err("it should have failed").to_string()
}
