//! One run at a time in the whole world: an object coordinates the runs and carries them on by its alarms.
//!
//! KV has no locks, and a write is visible elsewhere only after a while. Without a coordinator, two runs in two places
//! can therefore run the same `up` at the same moment. A Cloudflare Durable Object exists once in the world, and its
//! rows are never stale. `kv-migrations-routes` makes a Durable Object of a [`Coordinator`]. This module knows nothing
//! of Cloudflare, so that it runs in tests exactly as it runs there.
//!
//! A request is written down and the alarm is set. [`Coordinator::alarm`] does the work, step by step, each step within
//! the runner's [`Budget`](crate::Budget). If a step is cut off, at whatever point, the next one resumes the run.
//!
//! - **The ledger** is in the object. After each step, the markers that changed are copied to KV, for the TypeScript
//!   runner and for runs without a coordinator.
//! - **The right to run** is a lease in the object's storage. It is renewed before operations are sent, and with every
//!   row that is written. An instance that was replaced without knowing it has lost the lease: it sends and writes
//!   nothing.
//!
//! The runner's clock must let other work proceed while it sleeps, as a Worker's clock does. The machine's own clock
//! (without the feature `worker`) and `kv_migrations::testing::ManualClock` do not.
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
//! // In a Worker the runtime calls the alarm when it is due.
//! let deploy = Caller::default().with_label("deploy 4711");
//! let (report, alarm) = futures_util::join!(coordinator.run_pending(&deploy), coordinator.alarm());
//! alarm?;
//! assert_eq!(report?.ran, ["001_add_feature"]);
//! assert_eq!(coordinator.history()?[0].by.as_deref(), Some("deploy 4711"));
//! # Ok(())
//! # }
//! # let _ = example;
//! ```

// The folder, from the top down; a file uses only files below it, and from the crate only `runner` and what is below
// that.
//
// request, rollback, control, what callers ask
// correct, status
// repair                     rows that cannot be read
// alarm                      what the runtime calls: one step, and the copies of the markers that it changed
// settle                     what follows on a step: the rows of the task, and the replies to those who wait
// step/                      one step by the runner, and what came of it
// adopt                      takes markers over from KV
// object                     the struct `Coordinator`
// sleep                      alarms that came too early
// records, waiters/          what an object has written down, and who waits for it in this instance
// task, transition           what an object is asked to do (data), and how that goes on (pure)
// storage/                   rows: lease, journal and mirror of the markers, what is applied, history
// error, caller, report, observer

mod adopt;
mod alarm;
mod caller;
mod control;
mod correct;
mod error;
mod object;
mod observer;
mod records;
mod repair;
mod report;
mod request;
mod rollback;
mod settle;
mod sleep;
mod status;
mod step;
mod storage;
mod task;
mod transition;
mod waiters;

pub use caller::Caller;
pub use error::CoordinatorError;
pub use object::Coordinator;
#[cfg(feature = "testing")]
pub use observer::JournalEvent;
pub use report::{
    Activity, FailedAttempt, HistoryEntry, Intervention, InterventionKind, RunOutcome, TaskKind,
};
pub use storage::{MemoryStorage, RowChange, Storage, StorageError};
