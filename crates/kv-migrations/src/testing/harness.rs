//! Runs a list of migrations to its end, for the tests of a service.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::changes::Changes;
use super::fault::{Fault, faulty};
use super::memory_log::MemoryLog;
use super::virtual_time::VirtualTime;
use crate::budget::Budget;
use crate::clock::{Clock, seconds};
use crate::error::Error;
use crate::kv::{Key, MemoryStore, Store};
use crate::ledger::MARKER_PREFIX;
use crate::migration::Migration;
use crate::report::RunReport;
use crate::runner::{Runner, Until};

/// After this many requests a run counts as endless.
const MAX_REQUESTS: usize = 100_000;

/// A service in memory: its data, its migrations, and a time in which nothing has to be waited for.
///
/// It makes as many requests as a run or a rollback takes, each with a budget of its own. Time begins with that of the store, and
/// passes only when something waits: the wait of a re-key for KV takes none.
///
/// # Example
/// ```
/// use kv_migrations::kv::MemoryStore;
/// use kv_migrations::testing::Harness;
/// use kv_migrations::{Migration, Rekey};
///
/// let store = MemoryStore::new();
/// store.insert("user_1", "Ada");
/// let users = || Migration::rekey("001_users", "", Rekey::prefix("user_", "user:"));
///
/// let harness = Harness::new(&store, "my-service", vec![users()]);
/// harness.migrate()?;
/// assert_eq!(harness.store().value("user:1").unwrap(), b"Ada");
///
/// let harness = Harness::new(&store, "my-service", vec![users()]);
/// harness.up_then_down();
/// harness.crash_anywhere();
/// # Ok::<(), kv_migrations::Error>(())
/// ```
pub struct Harness<C = ()> {
    world: World,
    /// The entries at the beginning.
    before: Vec<(Key, Vec<u8>)>,
    service: String,
    migrations: Arc<[Migration<C>]>,
    context: C,
    budget: Budget,
}

/// What runs happen in.
struct World {
    store: MemoryStore,
    time: VirtualTime,
    log: MemoryLog,
}

impl Harness {
    /// The migrations of a service whose context is `()`, over a copy of `store`.
    pub fn new(
        store: &MemoryStore,
        service: impl Into<String>,
        migrations: impl Into<Arc<[Migration]>>,
    ) -> Self {
        Self::with_context(store, service, migrations, ())
    }
}

impl<C: 'static> Harness<C> {
    /// The migrations of a service, and their context.
    pub fn with_context(
        store: &MemoryStore,
        service: impl Into<String>,
        migrations: impl Into<Arc<[Migration<C>]>>,
        context: C,
    ) -> Self {
        Self {
            world: World::copied(store, store.clock().now()),
            before: store.entries(),
            service: service.into(),
            migrations: migrations.into(),
            context,
            budget: Budget::default(),
        }
    }

    /// Sets the budget of each request.
    #[must_use]
    pub fn with_budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// The data as it is now. The store can be read and changed at any time.
    pub fn store(&self) -> &MemoryStore {
        &self.world.store
    }

    /// How the data differs from what the harness began with, markers and checkpoints aside. What has expired meanwhile does not
    /// count.
    pub fn changes(&self) -> Changes {
        let now = seconds(self.world.time.now());
        let is_live = |key: &Key| key.expiration.is_none_or(|at| at > now);
        let before = self.before.iter().filter(|(key, _)| is_live(key) && !self.is_marker(key));
        Changes::between(&before.cloned().collect::<Vec<_>>(), &self.data(&self.world.store))
    }

    /// The time. `advance` makes it later.
    pub fn time(&self) -> &VirtualTime {
        &self.world.time
    }

    /// The lines that were logged.
    pub fn log(&self) -> &MemoryLog {
        &self.world.log
    }

    /// Applies all that is pending, in as many requests as it takes, and returns what each of them reported.
    ///
    /// # Errors
    /// Those of [`Runner::run_pending`].
    ///
    /// # Panics
    /// If the migrations cannot be [registered](Runner::new), or do not come to an end in 100,000 requests.
    #[track_caller]
    pub fn migrate(&self) -> Result<Vec<RunReport>, Error> {
        self.migrate_in(&self.world, self.world.store.clone())
    }

    /// Rolls back [so far](Until), in as many requests as it takes, and returns what each of them reported.
    ///
    /// # Errors
    /// Those of [`Runner::rollback_until`].
    ///
    /// # Panics
    /// As [`migrate`](Self::migrate) does.
    #[track_caller]
    pub fn roll_back(&self, until: &Until) -> Result<Vec<RunReport>, Error> {
        let mut until = until.clone();
        self.drive(&self.world, self.world.store.clone(), |runner| {
            let report = self.world.time.run(runner.rollback_until(&until, &self.context))?;
            // A number of steps is refused while they are not finished.
            until = report.to.clone().map_or(Until::End, Until::Migration);
            Ok(report)
        })
    }

    /// Applies all that is pending and rolls everything back. Each entry must then be as it was before, with value, metadata
    /// and expiration.
    ///
    /// # Panics
    /// If it is not, or if the run or the rollback fails.
    #[track_caller]
    pub fn up_then_down(&self) {
        let before = self.data(&self.world.store);
        or_fail(self.migrate(), "The run fails");
        or_fail(self.roll_back(&Until::End), "The rollback fails");
        if let Some(difference) = difference(&before, &self.data(&self.world.store), true) {
            fail(format_args!("The rollback does not restore everything: {difference}"));
        }
    }

    /// Applies all that is pending, once for each KV operation that this takes, on a copy of the data: before that operation, the
    /// process dies. Then the run is carried on to its end. The data must be as if nothing had happened; of expirations, whether
    /// there is one counts. The store of the harness stays as it is. Returns the number of operations.
    ///
    /// Migrations that write something else each time need [`crash_anywhere_and`](Self::crash_anywhere_and).
    ///
    /// # Panics
    /// If it is not, or if a run fails that is not cut off.
    #[track_caller]
    pub fn crash_anywhere(&self) -> u64 {
        let expected = self.data(&self.without_crash());
        self.crash_anywhere_and(|store| {
            if let Some(difference) = difference(&expected, &self.data(store), false) {
                fail(format_args!("the data is not as without the crash: {difference}"));
            }
        })
    }

    /// Like [`crash_anywhere`](Self::crash_anywhere), with a check of the data at the end that panics if it is wrong.
    ///
    /// # Panics
    /// If `check` does, or if a run fails that is not cut off.
    #[track_caller]
    pub fn crash_anywhere_and(&self, check: impl Fn(&MemoryStore)) -> u64 {
        let operations = self.without_crash().operations();
        for operation in 0..operations {
            let _told = ToldOnPanic { operation, operations };
            let world = self.copy();
            // How it ends does not matter: nobody learns of it.
            let _ = self.migrate_in(&world, faulty(world.store.clone(), Fault::Crash(operation)));
            or_fail(self.migrate_in(&world, world.store.clone()), "The next run fails");
            check(&world.store);
        }
        operations
    }

    /// A copy of the data, once all is applied to it.
    #[track_caller]
    fn without_crash(&self) -> MemoryStore {
        let world = self.copy();
        or_fail(self.migrate_in(&world, world.store.clone()), "The run fails");
        world.store
    }

    /// A copy of the data, at the same time.
    fn copy(&self) -> World {
        World::copied(&self.world.store, self.world.time.now())
    }

    #[track_caller]
    fn migrate_in(&self, world: &World, store: impl Store + 'static) -> Result<Vec<RunReport>, Error> {
        self.drive(world, store, |runner| world.time.run(runner.run_pending(&self.context)))
    }

    /// Makes requests until one of them says that it is finished.
    #[track_caller]
    fn drive(
        &self,
        world: &World,
        store: impl Store + 'static,
        mut request: impl FnMut(&Runner<C>) -> Result<RunReport, Error>,
    ) -> Result<Vec<RunReport>, Error> {
        let runner = Runner::new(store, self.service.clone(), self.migrations.clone());
        let runner = or_fail(runner, "The migrations cannot be registered")
            .with_clock(Arc::new(world.time.clone()))
            .with_log(Arc::new(world.log.clone()))
            .with_budget(self.budget);
        let mut reports = Vec::new();
        while reports.last().is_none_or(|report: &RunReport| !report.is_finished()) {
            if reports.len() == MAX_REQUESTS {
                fail(format_args!("It does not come to an end: {MAX_REQUESTS} requests were made"));
            }
            let report = request(&runner)?;
            world.time.advance(report.retry_after.unwrap_or_default());
            reports.push(report);
        }
        Ok(reports)
    }

    /// All entries but the markers.
    fn data(&self, store: &MemoryStore) -> Vec<(Key, Vec<u8>)> {
        store.entries().into_iter().filter(|(key, _)| !self.is_marker(key)).collect()
    }

    fn is_marker(&self, key: &Key) -> bool {
        let rest = key.name.strip_prefix(MARKER_PREFIX).and_then(|rest| rest.strip_prefix(&self.service));
        rest.is_some_and(|rest| rest.starts_with('_'))
    }
}

impl World {
    fn copied(store: &MemoryStore, now: SystemTime) -> Self {
        let time = VirtualTime::starting_at(now);
        Self { store: store.copy_with_clock(time.clone()), time, log: MemoryLog::default() }
    }
}

/// Tells, if a check panics, before which operation the process had died.
struct ToldOnPanic {
    operation: u64,
    operations: u64,
}

impl Drop for ToldOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { operation, operations } = self;
            eprintln!(
                "The process had died before operation {operation} of {operations}, and the run was carried on."
            );
        }
    }
}

/// What differs first. It tells the key, and nothing of a value: the data may be a copy of real data.
fn difference(
    expected: &[(Key, Vec<u8>)],
    found: &[(Key, Vec<u8>)],
    with_expirations: bool,
) -> Option<String> {
    let find = |entries: &[(Key, Vec<u8>)], name: &str| {
        entries.binary_search_by(|(key, _)| key.name.as_str().cmp(name)).ok()
    };
    for (key, value) in expected {
        let name = &key.name;
        let Some((found, found_value)) = find(found, name).and_then(|place| found.get(place)) else {
            return Some(format!("{name:?} is missing"));
        };
        if value != found_value {
            let (expected, found) = (value.len(), found_value.len());
            return Some(format!(
                "{name:?} has another value, of {found} bytes, where {expected} were expected"
            ));
        }
        if key.metadata != found.metadata {
            return Some(format!("{name:?} has other metadata"));
        }
        let is_same = if with_expirations {
            key.expiration == found.expiration
        } else {
            key.expiration.is_some() == found.expiration.is_some()
        };
        if !is_same {
            let (expected, found) = (key.expiration, found.expiration);
            return Some(format!("{name:?} expires at {found:?}, where {expected:?} was expected"));
        }
    }
    let extra = found.iter().find(|(key, _)| find(expected, &key.name).is_none());
    extra.map(|(key, _)| format!("{:?} should not be there", key.name))
}

#[track_caller]
fn or_fail<T>(result: Result<T, impl fmt::Display>, what: &str) -> T {
    match result {
        Ok(output) => output,
        Err(error) => fail(format_args!("{what}: {error}")),
    }
}

#[track_caller]
#[allow(clippy::panic, reason = "a test fails so")]
fn fail(text: fmt::Arguments<'_>) -> ! {
    panic!("{text}")
}

impl<C> fmt::Debug for Harness<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness")
            .field("service", &self.service)
            .field("store", &self.world.store)
            .finish_non_exhaustive()
    }
}
