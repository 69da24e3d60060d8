//! The struct [`Coordinator`].

use std::fmt;
use std::sync::{Arc, Mutex};

use super::records::Records;
use super::sleep::Sleep;
use super::storage::Storage;
use super::waiters::Waiters;
use crate::budget::Interrupt;
use crate::error::BoxError;
use crate::runner::Runner;

/// One instance of the object that coordinates the runs of one service: see the [module](crate::coordinator).
pub struct Coordinator<C = ()> {
    pub(super) runner: Runner<C>,
    pub(super) context: Box<dyn Fn() -> Result<C, BoxError> + Send + Sync>,
    pub(super) records: Records,
    pub(super) waiters: Waiters,
    /// Ends the step that is under way in good order.
    pub(super) interrupt: Mutex<Interrupt>,
    pub(super) sleep: Sleep,
}

impl<C> Coordinator<C> {
    /// Creates the coordinator of the runner's service, which continues what `storage` holds. `context` makes what
    /// migrations get. It is called once for each step.
    pub fn new(
        runner: Runner<C>,
        storage: Arc<dyn Storage>,
        context: impl Fn() -> Result<C, BoxError> + Send + Sync + 'static,
    ) -> Self {
        let (clock, service) = (runner.clock().clone(), runner.service().to_owned());
        Self {
            runner,
            context: Box::new(context),
            records: Records::new(storage, clock, service),
            waiters: Waiters::default(),
            interrupt: Mutex::default(),
            sleep: Sleep::default(),
        }
    }

    /// Lets migrations make at most this many puts and as many deletes a day (default: any number). Days begin at 00:00 UTC.
    ///
    /// On the free plan, KV takes 1,000 of each a day for all namespaces of the account together: this leaves the rest to the
    /// service. Once they are used up, the run waits for the next day, as it does at KV's own quota
    /// ([`RunReport::quota_exhausted`](crate::RunReport::quota_exhausted)). A tenth of them, 20 at most, is kept for the
    /// copies of markers. A step that is cut off may have made a few that are not counted, in its last second.
    ///
    /// # Example
    /// ```
    /// use kv_migrations::coordinator::{Coordinator, MemoryStorage};
    /// use kv_migrations::{Migration, RegistrationError, Runner, kv::MemoryStore};
    /// use std::sync::Arc;
    ///
    /// # fn example() -> Result<Coordinator, RegistrationError> {
    /// let runner = Runner::new(MemoryStore::new(), "my-service", Vec::<Migration>::new())?;
    /// let coordinator = Coordinator::new(runner, Arc::new(MemoryStorage::new()), || Ok(())).with_writes_per_day(500);
    /// # Ok(coordinator)
    /// # }
    /// # assert!(example().is_ok());
    /// ```
    #[must_use]
    pub fn with_writes_per_day(mut self, writes: u64) -> Self {
        self.records.writes_per_day = Some(writes);
        self
    }

    /// Sets an observer, which is called right after something was written down: for tests and simulations, with the
    /// feature `testing`.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn with_journal_observer(
        mut self,
        observer: impl Fn(&super::observer::JournalEvent) + Send + Sync + 'static,
    ) -> Self {
        self.records.observer = super::observer::JournalObserver::new(observer);
        self
    }
}

impl<C> fmt::Debug for Coordinator<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coordinator").field("runner", &self.runner).finish_non_exhaustive()
    }
}
