//! An object whose alarms go off in virtual time, and the coordinator in it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::{Either, select};
use kv_migrations::clock::Clock;
use kv_migrations::coordinator::{Caller, Coordinator, CoordinatorError, MemoryStorage};
use kv_migrations::kv::{MemoryStore, Request, Store};
use kv_migrations::testing::MemoryLog;
use kv_migrations::{Backfill, Budget, Migration, Runner, State, Status};

use crate::stores::Refusing;
use crate::virtual_time::{Slow, VirtualTime};

/// What outlives an instance: KV, and the object's storage.
#[derive(Clone)]
pub struct Object {
    pub time: VirtualTime,
    pub kv: MemoryStore,
    pub storage: MemoryStorage,
    pub log: MemoryLog,
    pub budget: Budget,
}

impl Object {
    pub fn new() -> Self {
        let time = VirtualTime::new();
        let kv = MemoryStore::with_clock(time.clock.clone());
        let budget = Budget::default().with_operations(20);
        Self { time, kv, storage: MemoryStorage::new(), log: MemoryLog::default(), budget }
    }

    /// The same with so many users, from `user_000` on.
    pub fn with_users(self, users: u32) -> Self {
        for number in 0..users {
            self.kv.insert(&format!("user_{number:03}"), "x");
        }
        self
    }

    /// An instance.
    pub fn instance(&self, migrations: Vec<Migration>) -> Coordinator {
        self.instance_on(self.kv.clone(), migrations)
    }

    pub fn instance_on(&self, store: impl Store + 'static, migrations: Vec<Migration>) -> Coordinator {
        let store = Slow { store, time: self.time.clone(), latency: Duration::from_millis(10) };
        let runner = self.runner_on(store, migrations);
        Coordinator::new(runner, Arc::new(self.storage.clone()), || Ok(()))
    }

    /// KV, which refuses markers for as long as the switch is on.
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

    /// What comes of some work, while alarms go off.
    pub fn serve<T>(&self, coordinator: &Coordinator, work: impl Future<Output = T>) -> T {
        let alarms = pin!(self.ring_forever(coordinator));
        let work = async {
            match select(pin!(work), alarms).await {
                Either::Left((result, _)) => result,
                Either::Right(((), _)) => unreachable!("alarms go on for ever"),
            }
        };
        self.time.time(work).0
    }

    /// The same, cut off after some time: work and alarms are dropped where they are.
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

    pub async fn ring_forever(&self, coordinator: &Coordinator) {
        loop {
            let now = self.time.now();
            match self.storage.alarm() {
                Some(at) if at <= now => {
                    self.storage.take_alarm();
                    coordinator.alarm().await.expect("memory does not fail");
                }
                // Another can be set at any time.
                Some(at) if at < now + Duration::from_secs(2) => {
                    self.time.sleep(Duration::from_millis(10)).await;
                }
                _ => self.time.sleep(Duration::from_millis(200)).await,
            }
        }
    }

    /// Lets so much time pass.
    pub fn pass(&self, coordinator: &Coordinator, time: Duration) {
        self.serve(coordinator, self.time.sleep(time));
    }

    pub fn migrate(&self, coordinator: &Coordinator) -> Result<kv_migrations::RunReport, CoordinatorError> {
        self.serve(coordinator, coordinator.run_pending(&Caller::default()))
    }

    pub fn status(&self, coordinator: &Coordinator, id: &str) -> Status {
        let statuses = self.serve(coordinator, coordinator.status()).expect("memory does not fail");
        statuses.into_iter().find(|status| status.id == id).expect("it is registered")
    }

    pub fn state(&self, coordinator: &Coordinator, id: &str) -> State {
        self.status(coordinator, id).state
    }

    /// The value of a migration's marker in KV.
    pub fn marker(&self, id: &str) -> Option<String> {
        let value = self.kv.value(&format!("migration_my-service_{id}"))?;
        Some(String::from_utf8(value).expect("it is text"))
    }

    /// How many users have the mark.
    pub fn marked(&self) -> usize {
        let entries = self.kv.entries().into_iter();
        entries.filter(|(key, value)| key.name.starts_with("user_") && value.ends_with(b"+")).count()
    }
}

/// Adds a mark to each user, once; the way back takes it off.
pub fn marking(id: &'static str) -> Migration {
    let mark = Backfill::new("user_", async |_, record, ()| {
        if record.value().ends_with(b"+") {
            return Ok(());
        }
        Ok(record.put([record.value(), b"+"].concat()).await?)
    });
    let unmark = Backfill::new("user_", async |_, record, ()| match record.value().strip_suffix(b"+") {
        Some(value) => Ok(record.put(value).await?),
        None => Ok(()),
    });
    Migration::backfill(id, "Marks every user", mark).with_down_backfill(unmark)
}
