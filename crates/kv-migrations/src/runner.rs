//! Runs migrations: reads the ledger, plans, and takes one step after the other.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::clock::{Clock, SystemClock, iso8601, milliseconds_between};
use crate::error::{Error, Failure, Stage, reason};
use crate::kv::{Kv, Store, Terms};
use crate::ledger::{Applied, Ledger};
use crate::lock::{Claim, RunLock};
use crate::log::{ConsoleLog, Log};
use crate::migration::{BoxError, Migration};
use crate::plan::{Action, Plan};
use crate::registered::{Registered, RegistrationError};
use crate::report::{Detail, RollbackReport, RunReport, Status};

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
/// # futures_util::FutureExt::now_or_never(example()).unwrap().unwrap();
/// ```
pub struct Runner<C = ()> {
    registered: Registered<C>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    log: Arc<dyn Log>,
    lock: RunLock,
}

impl<C> Runner<C> {
    /// A runner for the service `prefix`, whose markers are `migration_{prefix}_{id}` in `store`.
    ///
    /// # Errors
    /// [`RegistrationError`] if an id or the prefix is empty, cannot be part of a key or is too long for one, or if
    /// an id occurs twice.
    pub fn new(
        store: impl Store + 'static,
        prefix: impl Into<String>,
        migrations: impl Into<Arc<[Migration<C>]>>,
    ) -> Result<Self, RegistrationError> {
        Ok(Self {
            registered: Registered::new(prefix.into(), migrations.into())?,
            store: Arc::new(store),
            clock: Arc::new(SystemClock),
            log: Arc::new(ConsoleLog),
            lock: RunLock::new(),
        })
    }

    /// The same, with another clock than the machine's.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The same, with its lines written elsewhere than to the console.
    #[must_use]
    pub fn with_log(mut self, log: Arc<dyn Log>) -> Self {
        self.log = log;
        self
    }

    /// The same, kept from running at once with all others that have this lock.
    #[must_use]
    pub fn with_lock(mut self, lock: RunLock) -> Self {
        self.lock = lock;
        self
    }

    /// Whether a migration is applied, registered or not. One KV operation.
    pub async fn is_run(&self, id: &str) -> Result<bool, Error> {
        self.reading().ledger.is_applied(id).await
    }

    /// The state of every registered migration, in order. One KV operation for every 1,000 markers.
    pub async fn status(&self) -> Result<Vec<Status>, Error> {
        let ledger = self.reading().ledger.read(self.registered.ids()).await?;
        let running = self.lock.running(&*self.clock);
        let status = |migration| Status::new(migration, &ledger, running.as_deref());
        Ok(self.registered.migrations().iter().map(status).collect())
    }

    /// Applies every migration that is not applied, in order, up to the first that fails.
    ///
    /// # Errors
    /// [`Error::Failed`] says which failed and what had run before, [`Error::Superseded`] at which the run was given
    /// up. On every other error nothing was changed.
    pub async fn run_pending(&self, context: &C) -> Result<RunReport, Error> {
        let run = self.claimed()?;
        let ledger = run.call.ledger.read(self.registered.ids()).await?;
        let plan = Plan::new(self.registered.ids(), &ledger);
        let mut report = RunReport { missing: plan.missing, ..RunReport::default() };
        for (migration, step) in self.registered.migrations().iter().zip(plan.steps) {
            if step.action == Action::Skip {
                report.skipped.push(step.id);
                continue;
            }
            match run.apply(migration, context).await {
                Ok(detail) => report.details.push(detail),
                Err((stage, error)) => {
                    report.operations = run.call.operations();
                    return Err(self.failed(&run, migration, stage, error, report));
                }
            }
            if step.is_out_of_order {
                report.out_of_order.push(step.id.clone());
            }
            report.ran.push(step.id);
        }
        report.operations = run.call.operations();
        Ok(report)
    }

    /// Runs the `down` of an applied migration, and then deletes its marker.
    ///
    /// # Errors
    /// [`Error::UnknownMigration`], [`Error::NotRun`] and [`Error::Irreversible`] if it cannot be rolled back;
    /// [`Error::Failed`] if its `down` failed, or its marker could not be deleted: [`Failure::advice`] says what then
    /// is the case. [`Error::Superseded`] if the rollback was given up.
    pub async fn rollback(&self, id: &str, context: &C) -> Result<RollbackReport, Error> {
        let Some(migration) = self.registered.get(id) else {
            return Err(Error::UnknownMigration { id: id.to_owned() });
        };
        let run = self.claimed()?;
        if !run.call.ledger.is_applied(id).await? {
            return Err(Error::NotRun { id: id.to_owned() });
        }
        let Some(down) = migration.down() else { return Err(Error::Irreversible { id: id.to_owned() }) };

        let start = run.call.now();
        let failed = |stage, error| self.failed(&run, migration, stage, error, RunReport::default());
        run.begin(&format!("[Migration] Rolling back {id}"), id)
            .map_err(|error| failed(Stage::Down, error))?;
        down.run(&run.call.kv, context).await.map_err(|error| failed(Stage::Down, error))?;
        run.call.ledger.delete(id).await.map_err(|error| failed(Stage::Unrecord, error.into()))?;
        self.log.info(&format!("[Migration] ✓ Rolled back {id}"));
        Ok(RollbackReport {
            rolled_back: id.to_owned(),
            duration_ms: milliseconds_between(start, run.call.now()),
            operations: run.call.operations(),
        })
    }

    fn failed(
        &self,
        run: &Run<'_>,
        migration: &Migration<C>,
        stage: Stage,
        source: BoxError,
        report: RunReport,
    ) -> Error {
        let id = migration.id().to_owned();
        let error = if run.claim.renew() {
            Error::Failed(Box::new(Failure { id, stage, reason: reason(&*source), report, source }))
        } else {
            Error::Superseded { id }
        };
        self.log.error(&format!("[Migration] ✗ {error}"));
        error
    }

    /// For looking only: no lease is taken.
    fn reading(&self) -> Call {
        Call::new(self.store.clone(), Terms::new(self.clock.clone()), self.registered.prefix())
    }

    /// For changing: with the lease, without which no operation is sent.
    fn claimed(&self) -> Result<Run<'_>, Error> {
        let claim = self.lock.acquire(&self.clock);
        let claim = Arc::new(claim.map_err(|retry_after| Error::RunInProgress { retry_after })?);
        let terms = Terms::of_run(self.clock.clone(), &claim);
        let call = Call::new(self.store.clone(), terms, self.registered.prefix());
        Ok(Run { call, claim, log: &*self.log })
    }
}

impl<C> Clone for Runner<C> {
    fn clone(&self) -> Self {
        Self {
            registered: self.registered.clone(),
            store: self.store.clone(),
            clock: self.clock.clone(),
            log: self.log.clone(),
            lock: self.lock.clone(),
        }
    }
}

impl<C> fmt::Debug for Runner<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner")
            .field("prefix", &self.registered.prefix())
            .field("migrations", &self.registered.migrations())
            .finish_non_exhaustive()
    }
}

/// What one call of the runner works with.
struct Call {
    kv: Kv,
    ledger: Ledger,
    terms: Terms,
}

impl Call {
    fn new(store: Arc<dyn Store>, terms: Terms, prefix: &str) -> Self {
        let kv = Kv::on_terms(store, terms.clone());
        Self { ledger: Ledger::new(kv.clone(), prefix), kv, terms }
    }

    fn now(&self) -> DateTime<Utc> {
        self.terms.clock.now()
    }

    fn operations(&self) -> u64 {
        self.terms.counter.count()
    }
}

/// A call that changes something. The lease ends with it.
struct Run<'a> {
    call: Call,
    claim: Arc<Claim>,
    log: &'a dyn Log,
}

impl Run<'_> {
    /// Tells the log and the lock what is done now. Fails if the lease has gone to another run.
    fn begin(&self, line: &str, id: &str) -> Result<(), BoxError> {
        if !self.claim.begin(id) {
            return Err("another run has taken its place".into());
        }
        self.log.info(line);
        Ok(())
    }

    async fn apply<C>(&self, migration: &Migration<C>, context: &C) -> Result<Detail, (Stage, BoxError)> {
        let (call, id) = (&self.call, migration.id());
        let line = format!("[Migration] Running {id}: {}", migration.description());
        self.begin(&line, id).map_err(|error| (Stage::Up, error))?;
        let (start, operations) = (call.now(), call.operations());
        if let Err(error) = migration.up().run(&call.kv, context).await {
            self.remember_failure(id, &*error).await;
            return Err((Stage::Up, error));
        }
        let end = call.now();
        let detail = Detail {
            id: id.to_owned(),
            duration_ms: milliseconds_between(start, end),
            operations: call.operations() - operations,
        };
        let applied = Applied {
            run_at: Some(iso8601(end)),
            duration_ms: Some(detail.duration_ms),
            operations: Some(detail.operations),
        };
        call.ledger.record_applied(id, &applied).await.map_err(|error| (Stage::Record, error.into()))?;
        self.log.info(&format!("[Migration] ✓ Completed {id}"));
        Ok(detail)
    }

    /// So that a later status can tell. The failure itself is what matters: if this fails too, it only goes to the
    /// log.
    async fn remember_failure(&self, id: &str, error: &(dyn std::error::Error + 'static)) {
        let at = iso8601(self.call.now());
        if let Err(error) = self.call.ledger.record_failed(id, &at, &reason(error)).await {
            self.log.error(&format!("[Migration] The failure of {id} could not be recorded: {error}"));
        }
    }
}
