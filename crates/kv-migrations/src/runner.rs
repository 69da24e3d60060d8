//! Runs migrations: reads the ledger, plans, and takes one step after the other.

use std::fmt;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use crate::budget::{Budget, Interrupt, Spending};
use crate::change::NEXT_REQUEST;
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Failure, Stage, reason};
use crate::event::{Event, Observer};
use crate::job::Job;
use crate::kv::{Kv, Store, Terms};
use crate::ledger::{Entries, Found, Ledger, Marker};
use crate::lock::RunLock;
use crate::log::{ConsoleLog, Log};
use crate::migration::{BoxError, Migration};
use crate::plan::{Action, Plan};
use crate::progress::Direction;
use crate::registered::{Registered, RegistrationError};
use crate::report::{RollbackReport, RunReport, Status};
use crate::run::{Applied, Run, Undone};

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
    /// Where the markers are, if not there.
    journal: Option<Arc<dyn Store>>,
    clock: Arc<dyn Clock>,
    log: Arc<dyn Log>,
    lock: RunLock,
    budget: Budget,
    interrupt: Interrupt,
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
            journal: None,
            clock: Arc::new(SystemClock),
            log: Arc::new(ConsoleLog),
            lock: RunLock::new(),
            budget: Budget::default(),
            interrupt: Interrupt::default(),
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

    /// The same, with another budget than the default: more for a Worker that may make more operations in a request.
    #[must_use]
    pub fn with_budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// Whether a migration is applied, registered or not. One KV operation.
    pub async fn is_run(&self, id: &str) -> Result<bool, Error> {
        self.ledger().is_applied(id).await
    }

    /// The state of every registered migration, in order. One KV operation for every 1,000 markers.
    pub async fn status(&self) -> Result<Vec<Status>, Error> {
        let ledger = self.ledger().read(self.registered.ids()).await?;
        let running = self.lock.running(&*self.clock);
        Ok(self.statuses(&ledger, running.as_deref()))
    }

    /// By what the ledger says, and which migration runs at this moment.
    pub(crate) fn statuses(&self, ledger: &Entries, running: Option<&str>) -> Vec<Status> {
        let status = |migration| Status::new(migration, ledger, running);
        self.registered.migrations().iter().map(status).collect()
    }

    /// Applies every migration that is not applied, in order, up to the first that fails, as far as the
    /// [`Budget`] goes. The next run carries on with what is [`remaining`](RunReport::remaining).
    ///
    /// # Errors
    /// [`Error::Failed`] says which failed and what had run before, [`Error::Superseded`] at which the run was given
    /// up. On every other error nothing was changed.
    pub fn run_pending<'a>(&'a self, context: &'a C) -> LocalBoxFuture<'a, Result<RunReport, Error>> {
        self.run_pending_observed(context, &|_| {})
    }

    /// The same, telling `observer` what happens as it happens.
    ///
    /// # Errors
    /// As of [`run_pending`](Self::run_pending).
    pub fn run_pending_observed<'a>(
        &'a self,
        context: &'a C,
        observer: &'a (dyn Fn(Event<'_>) + 'a),
    ) -> LocalBoxFuture<'a, Result<RunReport, Error>> {
        // Boxed, so that it is compiled once, however many call it.
        Box::pin(self.run(context, observer))
    }

    async fn run(&self, context: &C, observer: &Observer<'_>) -> Result<RunReport, Error> {
        let run = self.claimed(observer)?;
        let ledger = run.ledger.read(self.registered.ids()).await?;
        let plan = Plan::new(self.registered.ids(), &ledger);
        let mut report = RunReport { missing: plan.missing, ..RunReport::default() };
        for (migration, step) in self.registered.migrations().iter().zip(plan.steps) {
            if step.action == Action::Skip {
                report.skipped.push(step.id);
                continue;
            }
            if !report.remaining.is_empty() || !report.ran.is_empty() && run.is_half_spent() {
                report.retry_after.get_or_insert(NEXT_REQUEST);
                report.remaining.push(step.id);
                continue;
            }
            let marker = ledger.get(migration.id()).and_then(Marker::progress);
            let job =
                Job::new(&run, migration.id(), Direction::Up, marker.map(|progress| progress.direction));
            match run.apply(migration, &job, context, report.ran.is_empty()).await {
                Ok(Applied::Now(detail)) => {
                    report.details.push(detail);
                    if step.is_out_of_order {
                        report.out_of_order.push(step.id.clone());
                    }
                    report.ran.push(step.id);
                }
                Ok(Applied::ByAnother) => report.skipped.push(step.id),
                Ok(Applied::Partly { progress, retry_after }) => {
                    (report.progress, report.retry_after) = (progress, Some(retry_after));
                    report.remaining.push(step.id);
                }
                Err((stage, error)) => {
                    report.operations = run.operations();
                    report.progress = migration.up().is_resumable().then(|| job.progress());
                    return Err(failed(&run, migration.id(), stage, error, report));
                }
            }
        }
        report.operations = run.operations();
        Ok(report)
    }

    /// Runs the `down` of an applied migration, and then deletes its marker. One that was applied, or rolled back, in
    /// part only can be rolled back too.
    ///
    /// A `down` that is a backfill, or a re-key's, goes as far as the [`Budget`] does; call it again to carry on.
    ///
    /// # Errors
    /// [`Error::UnknownMigration`], [`Error::NotRun`] and [`Error::Irreversible`] if it cannot be rolled back;
    /// [`Error::Failed`] if its `down` failed, or its marker could not be deleted: [`Failure::advice`] says what then
    /// is the case. [`Error::Superseded`] if the rollback was given up.
    pub async fn rollback(&self, id: &str, context: &C) -> Result<RollbackReport, Error> {
        let Some(migration) = self.registered.get(id) else {
            return Err(Error::UnknownMigration { id: id.to_owned() });
        };
        let run = self.claimed(&|_| {})?;
        let marker = match run.ledger.look(id).await? {
            Found::Nothing => return Err(Error::NotRun { id: id.to_owned() }),
            Found::Applied => None,
            Found::Checkpoint(_, progress) => Some(progress.direction),
        };
        let Some(down) = migration.down() else { return Err(Error::Irreversible { id: id.to_owned() }) };

        let job = Job::new(&run, id, Direction::Down, marker);
        let outcome = match run.undo(down, &job, context).await {
            Ok(outcome) => outcome,
            Err((stage, error)) => {
                let is_still_applied = marker.is_none() && !down.is_resumable();
                let progress = (!is_still_applied).then(|| job.progress());
                let report = RunReport { progress, ..RunReport::default() };
                return Err(failed(&run, id, stage, error, report));
            }
        };
        let progress = job.progress();
        let (duration_ms, operations) = (progress.duration_ms, run.operations());
        let (rolled_back, failed_entries, progress, retry_after) = match outcome {
            Undone::Wholly { failed_entries } => (Some(id.to_owned()), failed_entries, None, None),
            Undone::Partly { retry_after } => (None, Vec::new(), Some(progress), Some(retry_after)),
        };
        Ok(RollbackReport { rolled_back, duration_ms, operations, failed_entries, progress, retry_after })
    }

    /// For looking only: no lease is taken.
    pub(crate) fn ledger(&self) -> Ledger {
        self.ledger_on(Terms::new(self.clock.clone()))
    }

    fn ledger_on(&self, terms: Terms) -> Ledger {
        let prefix = self.registered.prefix();
        match &self.journal {
            None => Ledger::new(Kv::on_terms(self.store.clone(), terms), prefix),
            Some(journal) => Ledger::of_journal(Kv::on_terms(journal.clone(), terms), prefix),
        }
    }

    /// For changing: with the lease, without which no operation is sent.
    fn claimed<'a>(&'a self, observer: &'a Observer<'a>) -> Result<Run<'a>, Error> {
        let claim = self.lock.acquire(&self.clock);
        let claim = Arc::new(claim.map_err(|retry_after| Error::RunInProgress { retry_after })?);
        let terms = Terms::of_run(self.clock.clone(), &claim);
        let interrupt = self.interrupt.clone();
        let spending = Spending::new(self.budget, terms.counter.clone(), self.clock.clone(), interrupt);
        let kv = Kv::on_terms(self.store.clone(), terms.within(&spending));
        // A checkpoint is written while entries that hold the connections wait for that.
        let ledger = self.ledger_on(terms.beside());
        Ok(Run::new((kv, ledger), terms, claim, spending, (&*self.log, observer)))
    }

    /// The same for one step of a coordinator, which has the right to it: with its markers in the journal.
    pub(crate) fn for_step(
        &self,
        store: Arc<dyn Store>,
        journal: Option<Arc<dyn Store>>,
        interrupt: Interrupt,
    ) -> Self {
        Self { store, journal, interrupt, lock: RunLock::new(), ..self.clone() }
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub(crate) fn log(&self) -> &dyn Log {
        &*self.log
    }

    pub(crate) fn registered(&self) -> &Registered<C> {
        &self.registered
    }

    pub(crate) fn budget(&self) -> Budget {
        self.budget
    }
}

/// How a failure is answered: as one, or as a run that was given up.
fn failed(run: &Run<'_>, id: &str, stage: Stage, source: BoxError, report: RunReport) -> Error {
    let id = id.to_owned();
    let error = if run.is_current() {
        Error::Failed(Box::new(Failure { id, stage, reason: reason(&*source), report, source }))
    } else {
        Error::Superseded { id }
    };
    run.log().error(&format!("[Migration] ✗ {error}"));
    error
}

impl<C> Clone for Runner<C> {
    fn clone(&self) -> Self {
        Self {
            registered: self.registered.clone(),
            store: self.store.clone(),
            journal: self.journal.clone(),
            clock: self.clock.clone(),
            log: self.log.clone(),
            lock: self.lock.clone(),
            budget: self.budget,
            interrupt: self.interrupt.clone(),
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
