//! A service with a coordinator: its object in virtual time, and the migrations that a test gives it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::{Either, select};
use kv_migrations::clock::Clock;
use kv_migrations::coordinator::{Caller, Coordinator, CoordinatorError, MemoryStorage};
use kv_migrations::kv::{MemoryStore, Request, Store};
use kv_migrations::testing::{MemoryLog, ObjectRuntime, VirtualTime};
use kv_migrations::{Budget, Migration, RunReport, Runner, State, Status};

use crate::service::{self, start};
use crate::stores::{Refusing, Slow};

/// What outlives an instance: KV, and the object's storage.
#[derive(Clone)]
pub struct Object {
    pub time: VirtualTime,
    pub kv: MemoryStore,
    pub storage: MemoryStorage,
    pub runtime: ObjectRuntime,
    pub log: MemoryLog,
    pub budget: Budget,
}

impl Object {
    pub fn new() -> Self {
        let time = VirtualTime::starting_at(start());
        let (kv, log) = (MemoryStore::with_clock(time.clone()), MemoryLog::default());
        let (storage, budget) = (MemoryStorage::new(), Budget::default().with_operations(20));
        let runtime = ObjectRuntime::with_storage(time.clone(), storage.clone());
        Self { time, kv, storage, runtime, log, budget }
    }

    /// The object with another clock and another storage.
    pub fn with_storage(&self, time: VirtualTime, storage: MemoryStorage) -> Self {
        let runtime = ObjectRuntime::with_storage(time.clone(), storage.clone());
        Self { time, storage, runtime, ..self.clone() }
    }

    /// The object with this many users, from `user_000` on.
    pub fn with_users(self, users: u32) -> Self {
        for number in 0..users {
            self.kv.insert(&format!("user_{number:03}"), "x");
        }
        self
    }

    /// Another namespace with this many users, from `user_000` on.
    pub fn another_namespace_with_users(&self, users: u32) -> MemoryStore {
        let other = Self { kv: MemoryStore::with_clock(self.time.clone()), ..self.clone() };
        other.with_users(users).kv
    }

    /// An instance.
    pub fn instance(&self, migrations: Vec<Migration>) -> Coordinator {
        self.instance_on(self.kv.clone(), migrations)
    }

    pub fn instance_on(&self, store: impl Store + 'static, migrations: Vec<Migration>) -> Coordinator {
        let store = Slow::new(store, &self.time, Duration::from_millis(10));
        self.instance_of(self.runner_on(store, migrations))
    }

    pub fn instance_of(&self, runner: Runner) -> Coordinator {
        Coordinator::new(runner, Arc::new(self.runtime.clone()), || Ok(()))
    }

    /// KV, which refuses markers while `is_down`.
    pub fn refusing_markers(&self, is_down: &Arc<AtomicBool>) -> impl Store + use<> {
        let is_down = is_down.clone();
        let refuses = move |request: Request<'_>| {
            let is_marker = request.key().starts_with("migration_");
            matches!(request, Request::Put { .. }) && is_marker && is_down.load(Ordering::Relaxed)
        };
        Refusing { store: self.kv.clone(), refuses }
    }

    pub fn runner_on(&self, store: impl Store + 'static, migrations: Vec<Migration>) -> Runner {
        Runner::new(store, "my-service", migrations)
            .expect("these migrations can be registered")
            .with_clock(Arc::new(self.time.clone()))
            .with_log(Arc::new(self.log.clone()))
            .with_budget(self.budget)
    }

    /// The output of `work`, while alarms are called.
    pub fn serve<T>(&self, coordinator: &Coordinator, work: impl Future<Output = T>) -> T {
        let alarms = pin!(self.call_alarms(coordinator));
        let work = async {
            match select(pin!(work), alarms).await {
                Either::Left((result, _)) => result,
                Either::Right(((), _)) => unreachable!("the runtime is not stopped"),
            }
        };
        self.time.run(work)
    }

    /// The output of `work`, which is cut off after this time together with the alarms.
    pub fn serve_for<T>(
        &self,
        time: Duration,
        coordinator: &Coordinator,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        self.serve(coordinator, async {
            match select(pin!(work), pin!(self.time.sleep(time))).await {
                Either::Left((result, _)) => Some(result),
                Either::Right(_) => None,
            }
        })
    }

    /// Calls the alarm of an instance whenever it is due.
    pub async fn call_alarms(&self, coordinator: &Coordinator) {
        self.runtime.call_alarms(async || coordinator.alarm().await).await;
    }

    /// Lets this much time pass.
    pub fn pass(&self, coordinator: &Coordinator, time: Duration) {
        self.serve(coordinator, self.time.sleep(time));
    }

    pub fn migrate(&self, coordinator: &Coordinator) -> Result<RunReport, CoordinatorError> {
        self.serve(coordinator, coordinator.run_pending(&Caller::default()))
    }

    pub fn status(&self, coordinator: &Coordinator, id: &str) -> Status {
        let statuses = self.serve(coordinator, coordinator.status()).expect("memory does not fail");
        statuses.into_iter().find(|status| status.id == id).expect("it is registered")
    }

    pub fn state(&self, coordinator: &Coordinator, id: &str) -> State {
        self.status(coordinator, id).state
    }

    /// The value of a migration's marker in KV. A checkpoint is text in its first line only.
    pub fn marker(&self, id: &str) -> Option<String> {
        let value = self.kv.value(&format!("migration_my-service_{id}"))?;
        Some(String::from_utf8_lossy(&value).into_owned())
    }

    /// How many users have the mark.
    pub fn marked(&self) -> usize {
        service::marked(&self.kv)
    }
}

/// Adds a mark to each user of another namespace.
pub fn marking_in(id: &'static str, object: &Object, namespace: &MemoryStore) -> Migration {
    let slow = Slow::new(namespace.clone(), &object.time, Duration::from_millis(10));
    Migration::backfill(id, "Marks every user there", service::marking().in_namespace(slow))
}

/// Adds a mark to each user, and removes it when it is rolled back.
pub fn marking(id: &'static str) -> Migration {
    Migration::backfill(id, "Marks every user", service::marking()).with_down_backfill(service::unmarking())
}
