//! One run at a time in the world: runs that one object coordinates, and carries on by its alarms.
//!
//! Without it, two runs at the same moment in two places can run an `up` twice, since KV has no locks, and shows
//! elsewhere what was written only after a while. A Cloudflare Durable Object is one for the whole world, and keeps rows that are
//! never stale. `kv-migrations-routes` makes a [`Coordinator`] of it; this module knows no Cloudflare, so that it runs
//! in tests as it runs there.
//!
//! What is asked for is written down, and the alarm set: everything is done by [`Coordinator::alarm`], step by step,
//! each within the runner's [`Budget`](crate::Budget). A step that is cut off at any point is carried on by the next.
//!
//! - **The ledger** lies in the object. What changes there is copied to KV after each step, for the TypeScript runner
//!   and for runs without a coordinator.
//! - **The right to run** is a lease in the object's storage. It is renewed before operations are sent, and with every
//!   row that is written. A step that lost it to another, in an instance that was replaced and does not know it, sends
//!   and writes nothing any more.
//!
//! The runner's clock must let others go on while it sleeps, as that of a Worker does. Without the feature `worker` the
//! machine's own does not, nor does a [`ManualClock`](crate::clock::ManualClock).
//!
//! # Example
//! ```no_run
//! use kv_migrations::coordinator::{Caller, Coordinator, MemoryStorage};
//! use kv_migrations::{Migration, Runner, kv::MemoryStore};
//! use std::sync::Arc;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let migrations = vec![Migration::new("001_add_feature", "Add new feature to system", async |kv, (): &()| {
//!     kv.put("feature_enabled", "true").await?;
//!     Ok(())
//! })];
//! let runner = Runner::new(MemoryStore::new(), "my-service", migrations)?;
//! let coordinator = Coordinator::new(runner, Arc::new(MemoryStorage::new()), || Ok(()));
//!
//! // In a Worker the runtime calls the alarm, when it is due.
//! let deploy = Caller::default().with_label("deploy 4711");
//! let (report, alarm) = futures_util::join!(coordinator.run_pending(&deploy), coordinator.alarm());
//! alarm?;
//! assert_eq!(report?.ran, ["001_add_feature"]);
//! assert_eq!(coordinator.history()?[0].by.as_deref(), Some("deploy 4711"));
//! # Ok(())
//! # }
//! # let _ = example;
//! ```

mod adopt;
mod alarm;
mod bell;
mod caller;
mod control;
mod error;
mod fenced;
mod history;
mod journal;
mod lease;
mod memory;
mod mirror;
mod ran;
mod request;
mod rows;
mod settle;
mod step;
mod storage;
mod taken;
mod task;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;

use crate::budget::Interrupt;
use crate::clock::iso8601;
use crate::error::BoxError;
use crate::kv::{Kv, Policy};
use crate::ledger::{Ledger, Markers};
use crate::report::Event;
use crate::report::{State, Status};
use crate::runner::Runner;
use bell::Bell;
pub use caller::Caller;
pub use error::{Activity, CoordinatorError};
pub use history::HistoryEntry;
use journal::Journal;
use lease::Lease;
pub use memory::MemoryStorage;
use request::Answer;
pub use storage::{Change, Storage, StorageError};
use task::Task;
pub use task::{FailureRecordtempt, Intervention, Outcome};

/// The row of the task that is being done, if one is.
const TASK: &str = "task";

/// One instance of the object that coordinates the runs of one service: see the [module](self).
pub struct Coordinator<C = ()> {
    runner: Runner<C>,
    storage: Arc<dyn Storage>,
    context: Box<dyn Fn() -> Result<C, BoxError> + Send + Sync>,
    /// Rung whenever callers that wait should look again.
    bell: Bell,
    answers: Mutex<Vec<Answer>>,
    /// Ends the step that is being taken.
    interrupt: Mutex<Interrupt>,
    observers: Mutex<Vec<Weak<Listener>>>,
}

/// Who is told what happens, for as long as they listen.
type Listener = dyn Fn(&Event) + Send + Sync;

impl<C> Coordinator<C> {
    /// The coordinator of the runner's service, with what was kept in `storage` before. `context` makes what migrations
    /// get, once for each step.
    pub fn new(
        runner: Runner<C>,
        storage: Arc<dyn Storage>,
        context: impl Fn() -> Result<C, BoxError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            runner,
            storage,
            context: Box::new(context),
            bell: Bell::default(),
            answers: Mutex::default(),
            interrupt: Mutex::default(),
            observers: Mutex::default(),
        }
    }

    /// The state of every registered migration, in order. No KV operation, but for the first time, which takes over
    /// the markers that stand in KV.
    ///
    /// # Errors
    /// [`CoordinatorError::Storage`]; and [`CoordinatorError::Runner`] if those markers cannot be read.
    pub async fn status(&self) -> Result<Vec<Status>, CoordinatorError> {
        self.adopt_once().await?;
        let ledger = self.ledger(None).load(self.runner.registered().ids()).await?;
        self.wake_if_due()?;
        self.statuses(&ledger)
    }

    fn statuses(&self, ledger: &Markers) -> Result<Vec<Status>, CoordinatorError> {
        let task = self.task()?;
        let at = task.as_ref().and_then(|task| task.migration.as_deref());
        let is_running = task.as_ref().map_or(Ok(false), |task| self.is_running(task))?;
        let running = at.filter(|_| is_running);
        let mut statuses = self.runner.statuses(ledger, running);
        let current = statuses.iter_mut().find(|status| Some(status.id.as_str()) == at);
        if let (Some(status), Some(task)) = (current, &task) {
            if task.is_paused() {
                status.state = State::Paused;
            }
            if task.is_retrying() {
                status.retry_at = task.due().map(iso8601);
            }
        }
        Ok(statuses)
    }

    async fn status_of(&self, id: &str) -> Result<Status, CoordinatorError> {
        let status = self.status().await?.into_iter().find(|status| status.id == id);
        status.ok_or_else(|| CoordinatorError::UnknownMigration { id: id.to_owned() })
    }

    /// What is being done, and what was done before: the newest first, about a hundred runs and rollbacks.
    ///
    /// # Errors
    /// [`CoordinatorError::Storage`].
    pub fn history(&self) -> Result<Vec<HistoryEntry>, CoordinatorError> {
        self.wake_if_due()?;
        let mut entries = history::read(&*self.storage)?;
        if let Some(task) = self.task()? {
            let outcome = if task.is_paused() { Outcome::Paused } else { Outcome::Running };
            entries.insert(0, HistoryEntry::new(&*self.storage, &task, outcome, None)?);
        }
        Ok(entries)
    }

    fn task(&self) -> Result<Option<Task>, StorageError> {
        rows::read(&*self.storage, TASK)
    }

    /// The markers, as the object has them; to be written only with a lease.
    fn journal(&self, lease: Option<Arc<Lease>>) -> Journal {
        Journal::new(self.storage.clone(), self.runner.clock().clone(), lease)
    }

    /// The same, as a ledger.
    fn ledger(&self, lease: Option<Arc<Lease>>) -> Ledger {
        let kv = Kv::with_policy(Arc::new(self.journal(lease)), Policy::new(self.runner.clock().clone()));
        Ledger::for_journal(kv, self.runner.service())
    }

    /// Before anything is answered for the first time.
    async fn adopt_once(&self) -> Result<(), CoordinatorError> {
        if adopt::is_done(&*self.storage)? {
            return Ok(());
        }
        let registered = self.runner.registered().ids();
        let changes = adopt::adopt(&self.runner.ledger(), registered, &self.journal(None)).await?;
        // Another call may have done it meanwhile, and a run may have begun since.
        if !adopt::is_done(&*self.storage)? {
            self.storage.write(&changes)?;
        }
        Ok(())
    }

    /// Whether a step is being taken, here or by another instance.
    fn is_stepping(&self) -> Result<bool, StorageError> {
        Ok(lease::held_until(&*self.storage, self.now())?.is_some())
    }

    /// Whether that is a step of this task, and not one that only copies markers.
    fn is_running(&self, task: &Task) -> Result<bool, StorageError> {
        Ok(task.due().is_some_and(|due| due <= self.now()) && self.is_stepping()?)
    }

    /// Sets the alarm of what is due: if one got lost, whoever asks next sets it again.
    fn wake_if_due(&self) -> Result<(), StorageError> {
        let now = self.now();
        let due = self.wake_at(self.task()?.and_then(|task| task.due()))?;
        if due.is_some_and(|due| due <= now) && !self.is_stepping()? {
            self.storage.write(&[Change::Alarm(Some(now))])?;
        }
        Ok(())
    }

    fn now(&self) -> SystemTime {
        self.runner.clock().now()
    }

    fn tell(&self, event: &Event) {
        let observers = {
            let mut observers = self.observers.lock().unwrap_or_else(PoisonError::into_inner);
            observers.retain(|observer| observer.strong_count() > 0);
            observers.clone()
        };
        for observer in observers.iter().filter_map(Weak::upgrade) {
            observer(event);
        }
    }
}

impl<C> fmt::Debug for Coordinator<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coordinator").field("runner", &self.runner).finish_non_exhaustive()
    }
}
