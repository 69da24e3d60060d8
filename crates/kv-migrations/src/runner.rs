//! Runs migrations: loads the ledger, and applies one migration after the other that it does not know as applied.
//!
//! `builder` sets a runner up, `registered` holds the validated list, `until` says how far a run goes, `plan` what else the
//! ledger tells, `findings` what of it looks like a mistake, `preview` what a run would do, `apply` changes data and records it,
//! `correct` changes only what is recorded (`correction` says what), `status` reports. This folder uses `migration`, `change`, `session` and what is below
//! them.

mod apply;
mod builder;
mod correct;
mod correction;
mod findings;
mod plan;
mod preview;
mod registered;
mod status;
mod until;

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::budget::{Budget, Interrupt};
use crate::change::{Job, NEXT_REQUEST};
use crate::clock::Clock;
use crate::error::{Error, Failure};
use crate::future::BoxFuture;
use crate::kv::{KvError, KvErrorKind, Store};
use crate::ledger::{Ledger, Marker, MarkerState, Markers};
use crate::lock::RunLock;
use crate::log::EscapedLog;
use crate::report::{
    AppliedMigration, Direction, Event, FailedEntry, MigrationKind, Observer, Progress, RollbackReport,
    RunReport, Status, StatusReport,
};
use crate::session::{Session, Settings};
use apply::{Advance, Failed, Record, Share, advance};
pub use correction::Correction;
pub(crate) use findings::Refused;
pub(crate) use plan::Plan;
pub(crate) use plan::unregistered;
pub(crate) use registered::{Registered, look_alike_warning};
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
    /// Whether a migration is applied, registered or not. One KV operation.
    ///
    /// # Errors
    /// [`Error::Ledger`] if its marker cannot be read, [`Error::ForeignMarker`] if the marker belongs to another service.
    pub async fn is_run(&self, id: &str) -> Result<bool, Error> {
        self.ledger().is_applied(id).await
    }

    /// The state of every registered migration, in order. One KV operation for every 1,000 markers, and one for every 100
    /// that this runner did not write.
    ///
    /// # Errors
    /// [`Error::Ledger`] and [`Error::LedgerTooLarge`] if the markers cannot be read, [`Error::ForeignMarker`] if one belongs to another service.
    pub async fn status(&self) -> Result<Vec<Status>, Error> {
        Ok(self.status_report().await?.migrations)
    }

    /// Like [`status`](Self::status), and which migrations of this service are applied or have begun but are not registered.
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

    /// Applies every migration that is not applied, in order, up to the first failure and as far as the [`Budget`] allows.
    /// The next run continues with what is [`remaining`](RunReport::remaining).
    ///
    /// # Errors
    /// [`Error::AnotherPrefix`] if the service seems to have run under another prefix: see
    /// [`with_other_service`](Self::with_other_service).
    /// [`Error::Refused`] if something is found that the runner [refuses](Self::refusing).
    /// [`Error::Failed`] says which migration failed and what was applied before. [`Error::Superseded`] says at which
    /// migration another run took over. After any other error nothing was changed.
    pub fn run_pending<'a>(&'a self, context: &'a C) -> BoxFuture<'a, Result<RunReport, Error>> {
        self.run_pending_observed(context, &|_| {})
    }

    /// Like [`run_pending`](Self::run_pending), and calls `observer` for each event as it happens.
    ///
    /// # Errors
    /// Those of [`run_pending`](Self::run_pending).
    pub fn run_pending_observed<'a>(
        &'a self,
        context: &'a C,
        observer: &'a (dyn Fn(&Event) + 'a),
    ) -> BoxFuture<'a, Result<RunReport, Error>> {
        self.run_pending_until(&Until::End, context, observer)
    }

    /// Like [`run_pending_observed`](Self::run_pending_observed), but only so far. What is still to be applied besides is
    /// [`beyond`](RunReport::beyond).
    ///
    /// # Errors
    /// Those of [`run_pending`](Self::run_pending). [`Error::UnknownMigration`] if the migration is not registered,
    /// [`Error::NotABackfill`] if a number of entries is to be changed of something else.
    pub fn run_pending_until<'a>(
        &'a self,
        until: &'a Until,
        context: &'a C,
        observer: &'a (dyn Fn(&Event) + 'a),
    ) -> BoxFuture<'a, Result<RunReport, Error>> {
        self.run_or_mark(until, Some(context), observer)
    }

    /// [`run_pending_until`](Self::run_pending_until), or without a context [`baseline`](Self::baseline).
    #[doc(hidden)]
    pub fn run_or_mark<'a>(
        &'a self,
        until: &'a Until,
        context: Option<&'a C>,
        observer: &'a (dyn Fn(&Event) + 'a),
    ) -> BoxFuture<'a, Result<RunReport, Error>> {
        // Boxed, so that it is compiled once for all callers.
        Box::pin(self.run(until, context, observer))
    }

    async fn run(
        &self,
        until: &Until,
        context: Option<&C>,
        observer: &Observer<'_>,
    ) -> Result<RunReport, Error> {
        let session = Session::open(&self.settings, observer)?;
        let (markers, plan) = self.checked_plan(&session, until, context.is_some()).await?;
        let mut report = RunReport {
            to: context.and_then(|_| self.registered.last_asked(until, plan.end)),
            revised: self.registered.revised(&markers),
            missing: plan.missing,
            beyond: plan.beyond,
            unfinished: plan.unfinished,
            missing_unknown: markers.is_missing_unknown(),
            ..RunReport::default()
        };
        for (place, migration) in self.registered.migrations().iter().enumerate() {
            let id = migration.id().to_owned();
            if markers.is_applied(&id) {
                report.skipped.push(id);
                continue;
            }
            if place >= plan.end {
                continue;
            }
            let has_run = !(report.ran.is_empty() && report.marked.is_empty());
            if !report.remaining.is_empty() || has_run && is_half_spent(&session) {
                report.retry_after.get_or_insert(NEXT_REQUEST);
                report.remaining.push(id);
                continue;
            }
            let Some(context) = context else {
                session.ledger.record_applied(&id, &self.marked_now(&id)).await.map_err(Error::Ledger)?;
                self.log_correction(Correction::Mark, &id);
                report.marked.push(id);
                continue;
            };
            let is_out_of_order = place < plan.up_to_last_applied;
            let marker = markers.get(&id).and_then(Marker::progress);
            let direction = marker.map(|progress| progress.direction);
            if let Until::Entries(entries) = *until {
                if migration.kind() != MigrationKind::Backfill {
                    return Err(Error::NotABackfill { id });
                }
                session.meter.set_sample(entries);
            }
            let mut job = Job::new(&session, migration.id(), Direction::Up, direction);
            let share = if has_run { Share::Rest } else { Share::Whole };
            let up = migration.up();
            let record = Record { is_out_of_order, revision: migration.named_revision() };
            let advance = advance(up, migration.description(), &mut job, context, share, record).await;
            let is_sample = matches!(until, Until::Entries(_));
            report.entries = is_sample.then(|| job.entries());
            match advance {
                Ok(Advance::Wholly { progress, failed_entries }) => {
                    let applied = applied(&job, &progress, up.is_resumable(), failed_entries);
                    // Moved, not cloned: a clone costs bytes in every user's wasm.
                    let event = Event::Applied(applied);
                    session.notify(&event);
                    if let Event::Applied(applied) = event {
                        warn(&session, &mut report, up.warning(&applied));
                        let look_alike = look_alike_warning(&id, self.registered.ids(), &report.missing);
                        warn(&session, &mut report, look_alike);
                        report.details.push(applied);
                    }
                    if is_out_of_order {
                        report.out_of_order.push(id.clone());
                    }
                    report.ran.push(id);
                }
                Ok(Advance::ByAnother) => report.skipped.push(id),
                Ok(Advance::Partly { progress, retry_after }) => {
                    session
                        .log()
                        .info(&format!("[Migration] … {id} is not finished: the next run resumes it"));
                    session.notify(&Event::Paused { id: id.clone() });
                    report.progress = progress;
                    if is_sample {
                        report.beyond.insert(0, id);
                    } else {
                        report.retry_after = Some(retry_after);
                        report.remaining.push(id);
                    }
                }
                Err(failed) => {
                    report.operations = session.operations();
                    report.progress = up.is_resumable().then(|| job.progress());
                    return Err(failure(&session, id, failed, report));
                }
            }
        }
        report.operations = session.operations();
        if report.progress.is_some() || !report.is_finished() {
            report.quota_exhausted = session.retry_after_quota(&mut report.retry_after);
        }
        Ok(report)
    }

    /// Runs the `down` of an applied migration and then deletes its marker. A migration that is partly applied or partly
    /// rolled back can be rolled back too.
    ///
    /// The `down` of a backfill or a re-key runs as far as the [`Budget`] allows. Call it again to resume.
    ///
    /// # Errors
    /// [`Error::UnknownMigration`], [`Error::NotRun`] and [`Error::Irreversible`] if it cannot be rolled back.
    /// [`Error::Failed`] if its `down` failed or its marker could not be deleted: [`Failure::advice`] says what the state is
    /// then. [`Error::Superseded`] if another run took over.
    pub async fn rollback(&self, id: &str, context: &C) -> Result<RollbackReport, Error> {
        let Some(migration) = self.registered.get(id) else {
            return Err(Error::UnknownMigration { id: id.to_owned() });
        };
        // Asked first, as the TypeScript runner does.
        let Some(down) = migration.down() else { return Err(Error::Irreversible { id: id.to_owned() }) };
        let session = Session::open(&self.settings, &|_| {})?;
        let marker = match session.ledger.state_of(id).await? {
            MarkerState::Nothing => return Err(Error::NotRun { id: id.to_owned(), action: "rollback" }),
            MarkerState::Applied => None,
            MarkerState::Unfinished(checkpoint) => Some(checkpoint.progress.direction),
        };

        let mut job = Job::new(&session, id, Direction::Down, marker);
        let advance = advance(down, "", &mut job, context, Share::Whole, Record::default()).await;
        let mut report = RollbackReport::default();
        let progress = match advance {
            Ok(Advance::Partly { progress, retry_after }) => {
                session.log().info(&format!("[Migration] … {id} is partly rolled back: roll it back again"));
                report.retry_after = Some(retry_after);
                report.progress = progress;
                job.progress()
            }
            Ok(Advance::Wholly { progress, failed_entries }) => {
                report.rolled_back = Some(id.to_owned());
                report.failed_entries = failed_entries;
                progress
            }
            // A `down` never is.
            Ok(Advance::ByAnother) => job.progress(),
            Err(failed) => {
                let is_still_applied = marker.is_none() && !down.is_resumable();
                let progress = (!is_still_applied).then(|| job.progress());
                let report = RunReport { progress, ..RunReport::default() };
                return Err(failure(&session, id.to_owned(), failed, report));
            }
        };
        report.duration_ms = progress.duration_ms;
        report.operations = session.operations();
        if !report.is_finished() {
            report.quota_exhausted = session.retry_after_quota(&mut report.retry_after);
        }
        report.entries = down.is_resumable().then_some(progress.entries);
        Ok(report)
    }

    /// The prefix under which the service seems to have run before, if it has run under none of its own.
    pub(crate) async fn other_prefix(
        &self,
        ledger: &Ledger,
        markers: &Markers,
    ) -> Result<Option<String>, Error> {
        if !markers.is_empty() || self.registered.migrations().is_empty() {
            return Ok(None);
        }
        ledger.other_prefix(self.registered.ids(), &self.settings.other_services).await
    }

    /// The markers, and what a run, or a baseline, is to do. An error if it is refused: only a run for what it finds.
    async fn checked_plan(
        &self,
        session: &Session<'_>,
        until: &Until,
        is_run: bool,
    ) -> Result<(Markers, Plan), Error> {
        let markers = session.ledger.load(self.registered.ids()).await?;
        let plan = Plan::new(self.registered.ids(), &markers, until)?;
        self.registered.check_visible(self.service(), &markers)?;
        if let Some(other) = self.other_prefix(&session.ledger_in_kv(), &markers).await? {
            return Err(Error::AnotherPrefix { service: self.service().to_owned(), other });
        }
        if let Some(Refused { kinds, check }) = self.refused.as_ref().filter(|_| is_run) {
            check(kinds, &self.registered.revisions(), &markers, &plan)?;
        }
        Ok((markers, plan))
    }

    /// A ledger for reading: it takes no lease.
    pub(crate) fn ledger(&self) -> Ledger {
        self.settings.ledger()
    }

    /// The same runner for one step of a coordinator, which has the right to it, with its markers in the journal.
    pub(crate) fn for_step(
        &self,
        store: Arc<dyn Store>,
        journal: Option<Arc<dyn Store>>,
        interrupt: Interrupt,
    ) -> Self {
        let settings = Settings { store, journal, interrupt, lock: RunLock::new(), ..self.settings.clone() };
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

/// What a migration took that is applied wholly.
fn applied(
    job: &Job<'_>,
    progress: &Progress,
    is_resumable: bool,
    failed_entries: Vec<FailedEntry>,
) -> AppliedMigration {
    AppliedMigration {
        id: job.id().to_owned(),
        duration_ms: progress.duration_ms,
        operations: progress.operations,
        entries: is_resumable.then_some(progress.entries),
        failed_entries,
        more_failed_entries: 0,
        left_out: job.left_out(),
    }
}

/// Whether so much of the budget is used that no other migration begins: it may need more than is left.
fn is_half_spent(session: &Session<'_>) -> bool {
    session.meter.left() < session.meter.budget().operations() / 2
}

fn warn(session: &Session<'_>, report: &mut RunReport, warning: Option<String>) {
    if let Some(warning) = warning {
        session.log().info(&format!("[Migration] ! {warning}"));
        report.warnings.push(warning);
    }
}

/// The error for what failed: a failure, or that another run took over.
fn failure(session: &Session<'_>, id: String, failed: Failed, report: RunReport) -> Error {
    let Failed { stage, reason, error: source } = failed;
    let error = if session.is_current() {
        Error::Failed(Box::new(Failure { id, stage, reason, report, source }))
    } else {
        // The migration may have wrapped the error that says so.
        let mut cause: Option<&(dyn StdError + 'static)> = Some(&*source);
        while let Some(error) = cause
            && !matches!(error.downcast_ref().map(KvError::kind), Some(KvErrorKind::Superseded))
        {
            cause = error.source();
        }
        Error::Superseded { id, reason: cause.is_none().then_some(reason) }
    };
    session.log().error(&format!("[Migration] ✗ {error}"));
    error
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
