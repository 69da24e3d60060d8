//! A service without a coordinator: its store, its clock, its log, and the migrations that a test gives it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::executor::block_on;
use kv_migrations::kv::{Expiration, Key, KvError, MemoryStore, Metadata, PutOptions, Store, StoreExt};
use kv_migrations::testing::{ManualClock, MemoryLog};
use kv_migrations::{Backfill, BoxError, Budget, Error, Failure, Migration, RunReport, Runner};

/// When the clock of every test starts.
pub const START: &str = "2026-11-22T10:48:28.706Z";
/// The number of requests after which a run is taken to be endless.
const MAX_REQUESTS: usize = 20_000;

/// [`START`] as a time.
pub fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_795_344_508_706)
}

/// An entry that exists from the start.
#[derive(Clone)]
pub struct InitialEntry {
    pub key: String,
    pub value: Vec<u8>,
    pub metadata: Option<&'static str>,
    /// In seconds from the start.
    pub ttl: Option<u64>,
}

/// On one line.
impl fmt::Debug for InitialEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, value, metadata, ttl } = self;
        write!(f, "{:.20}…={}B {metadata:?} {ttl:?}", key, value.len())
    }
}

impl InitialEntry {
    pub fn new(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), value: value.into(), metadata: None, ttl: None }
    }
}

#[derive(Clone)]
pub struct Service {
    pub store: MemoryStore,
    pub clock: ManualClock,
    pub log: MemoryLog,
    budget: Budget,
    prefix: &'static str,
}

impl Service {
    pub fn new() -> Self {
        let clock = ManualClock::starting_at(start());
        let store = MemoryStore::with_clock(clock.clone());
        let (log, budget) = (MemoryLog::default(), Budget::default());
        Self { store, clock, log, budget, prefix: "my-service" }
    }

    /// A service with these entries, each of whose requests may make this many operations.
    pub fn holding(entries: &[InitialEntry], operations: u64) -> Self {
        let service = Self { budget: Budget::default().with_operations(operations), ..Self::new() };
        service.fill(entries);
        service
    }

    /// Puts these entries.
    pub fn fill(&self, entries: &[InitialEntry]) {
        for entry in entries {
            let options = PutOptions::new()
                .with_metadata(entry.metadata.map(Metadata::from_json))
                .with_expiration(entry.ttl.map(Expiration::After));
            block_on(self.store.put(&entry.key, &entry.value, &options)).expect("KV takes it");
        }
    }

    /// Another namespace at the same time, with these entries.
    pub fn elsewhere(&self, entries: &[InitialEntry]) -> Self {
        let elsewhere = Self { store: MemoryStore::with_clock(self.clock.clone()), ..self.clone() };
        elsewhere.fill(entries);
        elsewhere
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
            .with_budget(self.budget)
    }

    /// Runs these migrations to their end, which must succeed, and returns the ids of those that ran.
    pub fn migrate(&self, migrations: Vec<Migration>) -> Vec<String> {
        let reports = self.drive(&self.runner(migrations)).expect("they succeed");
        reports.into_iter().flat_map(|report| report.ran).collect()
    }

    /// One request, and the wait that its answer asks for.
    pub fn request(&self, runner: &Runner) -> Result<RunReport, Error> {
        let report = block_on(runner.run_pending(&()))?;
        self.clock.advance(report.retry_after.unwrap_or_default());
        Ok(report)
    }

    /// Requests until the run is finished or fails.
    pub fn drive(&self, runner: &Runner) -> Result<Vec<RunReport>, Error> {
        let mut reports = Vec::new();
        while reports.len() < MAX_REQUESTS {
            let report = self.request(runner)?;
            let is_finished = report.is_finished();
            reports.push(report);
            if is_finished {
                return Ok(reports);
            }
        }
        panic!("it does not come to an end: {:?}", reports.last());
    }

    /// Rolls the migration `long` back until that is finished or fails.
    pub fn roll_back(&self, runner: &Runner) -> Result<(), Error> {
        for _ in 0..MAX_REQUESTS {
            let report = block_on(runner.rollback("long", &()))?;
            self.clock.advance(report.retry_after.unwrap_or_default());
            if report.is_finished() {
                return Ok(());
            }
        }
        panic!("the rollback does not come to an end");
    }

    /// All entries an hour later, when those with a short TTL have expired; without the metadata of markers, which has times.
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

    /// Puts a value, and JSON as its metadata.
    pub fn put(&self, key: &str, value: impl AsRef<[u8]>, metadata: Option<&str>) {
        let options = PutOptions::new().with_metadata(metadata.map(Metadata::from_json));
        block_on(self.store.put(key, value.as_ref(), &options)).expect("KV would take it");
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

/// A service with entries of these keys and values, each of whose requests may make 900 operations.
pub fn holding(entries: &[(&str, &str)]) -> Service {
    holding_with(entries, 900)
}

/// A service with entries of these keys and values, each of whose requests may make this many operations.
pub fn holding_with(entries: &[(&str, &str)], operations: u64) -> Service {
    let entries: Vec<_> = entries.iter().map(|(key, value)| InitialEntry::new(*key, *value)).collect();
    Service::holding(&entries, operations)
}

/// The keys that runs have left, and why.
pub fn left(reports: Vec<RunReport>) -> Vec<(String, String)> {
    let left = reports.into_iter().flat_map(|report| report.details).flat_map(|it| it.failed_entries);
    left.map(|entry| (entry.key, entry.reason)).collect()
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
pub fn failure<T: fmt::Debug>(result: Result<T, Error>) -> Failure {
    match result {
        Err(Error::Failed(failure)) => *failure,
        other => panic!("a migration should have failed: {other:?}"),
    }
}

/// Adds a space to each user.
pub fn touching() -> Backfill {
    Backfill::new("user_", async |_, record, ()| Ok(record.put([record.value(), b" "].concat()).await?))
}

/// Adds a mark to each user, once.
pub fn marking() -> Backfill {
    Backfill::new("user_", async |_, record, ()| {
        if record.value().ends_with(b"+") {
            return Ok(());
        }
        Ok(record.put([record.value(), b"+"].concat()).await?)
    })
}

/// Removes the mark from each user.
pub fn unmarking() -> Backfill {
    Backfill::new("user_", async |_, record, ()| match record.value().strip_suffix(b"+") {
        Some(value) => Ok(record.put(value).await?),
        None => Ok(()),
    })
}

/// How many users have the mark.
pub fn marked(store: &MemoryStore) -> usize {
    let entries = store.entries().into_iter();
    entries.filter(|(key, value)| key.name.starts_with("user_") && value.ends_with(b"+")).count()
}

/// A service with this many users, from `user_00000` on.
pub fn filled(users: u32) -> Service {
    let service = Service::new();
    for number in 0..users {
        service.store.insert(&format!("user_{number:05}"), "x");
    }
    service
}

/// The text of the error that an operation must have ended in.
pub fn error_text<T: fmt::Debug>(result: Result<T, KvError>) -> String {
    result.expect_err("it should have failed").to_string()
}
