//! Runs migrations: loads the ledger, and applies one migration after the other that it does not know as applied.
//!
//! `builder` sets a runner up, `registered` holds the validated list, `until` says how far a run goes, `plan` what else the
//! ledger tells, `findings` what of it looks like a mistake, `preview` what a run would do. `run` applies one migration after
//! the other, `dry_run` does so without writing, `rollback` undoes them (`rollback_plan` says which), `step` takes one of
//! them, `apply` does so and records it, `correct` changes only what is recorded (`correction` says what), `status` reports. This folder uses
//! `migration`, `change`, `session` and what is below them.

mod apply;
mod builder;
mod correct;
mod correction;
mod dry_run;
mod findings;
mod plan;
mod preview;
mod registered;
mod rollback;
mod rollback_plan;
mod run;
mod status;
mod step;
mod until;

use std::fmt;
use std::sync::Arc;

use crate::budget::{Budget, Interrupt};
use crate::clock::Clock;
use crate::error::Error;
use crate::future::BoxFuture;
use crate::kv::{Namespaces, Store};
use crate::ledger::{Ledger, Markers};
use crate::lock::RunLock;
use crate::log::EscapedLog;
use crate::report::{Status, StatusReport};
use crate::session::Settings;
pub use correction::Correction;
pub(crate) use findings::Refused;
pub(crate) use plan::Plan;
pub(crate) use plan::unregistered;
pub(crate) use registered::{Registered, look_alike_warning};
pub(crate) use rollback_plan::RollbackPlan;
pub use until::Until;

/// Runs the migrations of one service.
///
/// Each registered migration's `up` runs at least once, in the order of registration, and is marked as applied only
/// after it succeeded. A run stops at the first failure.
///
/// # Example
/// ```
/// use kv_migrations::{Migration, Runner, kv::MemoryStore};
///
/// # async fn example() -> Result<(), kv_migrations::Error> {
/// let migrations = vec![
///     Migration::new("001_add_feature", "Add new feature to system", async |kv, _: &()| {
///         kv.put("feature_enabled", "true").await?;
///         Ok(())
///     }),
/// ];
/// let runner = Runner::new(MemoryStore::new(), "my-service", migrations)?;
///
/// assert_eq!(runner.run_pending(&()).await?.ran, ["001_add_feature"]);
/// assert_eq!(runner.run_pending(&()).await?.skipped, ["001_add_feature"]);
/// assert!(runner.is_run("001_add_feature").await?);
/// # Ok(())
/// # }
/// # futures::executor::block_on(example()).unwrap();
/// ```
pub struct Runner<C = ()> {
    registered: Registered<C>,
    settings: Settings,
    refused: Option<Refused>,
}

impl<C> Runner<C> {
    /// Returns whether a migration is applied, registered or not. One KV operation.
    ///
    /// # Errors
    /// [`Error::Ledger`] if its marker cannot be read, [`Error::ForeignMarker`] if the marker belongs to another service.
    pub async fn is_run(&self, id: &str) -> Result<bool, Error> {
        self.ledger().is_applied(id).await
    }

    /// Returns the state of every registered migration, in order. One KV operation for every 1,000 markers, and one
    /// for every 100 that this runner did not write.
    ///
    /// # Errors
    /// [`Error::Ledger`] and [`Error::LedgerTooLarge`] if the markers cannot be read, [`Error::ForeignMarker`] if one belongs to another service.
    pub async fn status(&self) -> Result<Vec<Status>, Error> {
        Ok(self.status_report().await?.migrations)
    }

    /// Returns what [`status`](Self::status) does, and which migrations of this service are applied or have begun
    /// but are not registered.
    ///
    /// # Errors
    /// Those of [`status`](Self::status).
    pub async fn status_report(&self) -> Result<StatusReport, Error> {
        let markers = self.load().await?;
        let (missing, unfinished) = unregistered(self.registered.ids(), &markers);
        let missing_unknown = markers.is_missing_unknown();
        Ok(StatusReport { migrations: self.status_of_all(markers), missing, unfinished, missing_unknown })
    }

    /// The markers, for reading. Boxed, so that it is compiled once for all that is read of them.
    fn load(&self) -> BoxFuture<'_, Result<Markers, Error>> {
        Box::pin(async { self.ledger().load(self.registered.ids()).await })
    }

    /// What the markers and the lock tell of all migrations.
    fn status_of_all(&self, markers: Markers) -> Vec<Status> {
        let running = self.settings.lock.running(&*self.settings.clock);
        self.statuses(markers, running.as_deref())
    }

    /// What the markers tell of all migrations. `running` is the one that runs at this moment.
    pub(crate) fn statuses(&self, mut markers: Markers, running: Option<&str>) -> Vec<Status> {
        let mut migrations = Vec::new();
        for migration in self.registered.migrations() {
            let id = migration.id();
            migrations.push(status::status(migration, markers.take(id), running == Some(id)));
        }
        migrations
    }

    /// A ledger for reading: it takes no lease.
    pub(crate) fn ledger(&self) -> Ledger {
        self.settings.ledger()
    }

    /// The same runner for one step of a coordinator, which has the right to it, with its markers in the journal. The fence
    /// stands in front of each namespace.
    pub(crate) fn for_step(
        &self,
        fence: Arc<dyn Namespaces>,
        journal: Option<Arc<dyn Store>>,
        interrupt: Interrupt,
    ) -> Self {
        let store = fence.in_front_of(self.settings.store.clone());
        let (namespaces, lock) = (Some(fence), RunLock::new());
        let settings = Settings { store, journal, lock, interrupt, namespaces, ..self.settings.clone() };
        Self { registered: self.registered.clone(), settings, refused: self.refused.clone() }
    }

    pub(crate) fn service(&self) -> &str {
        &self.settings.service
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.settings.store
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.settings.clock
    }

    pub(crate) fn log(&self) -> &EscapedLog {
        &self.settings.log
    }

    pub(crate) fn registered(&self) -> &Registered<C> {
        &self.registered
    }

    pub(crate) fn budget(&self) -> Budget {
        self.settings.budget
    }
}

impl<C> Clone for Runner<C> {
    fn clone(&self) -> Self {
        let Self { registered, settings, refused } = self;
        Self { registered: registered.clone(), settings: settings.clone(), refused: refused.clone() }
    }
}

impl<C> fmt::Debug for Runner<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner")
            .field("service", &self.settings.service)
            .field("migrations", &self.registered.migrations())
            .finish_non_exhaustive()
    }
}
