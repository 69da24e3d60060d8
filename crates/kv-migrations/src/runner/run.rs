//! Runs what is pending, or records it as applied.

use super::Runner;
use super::correction::Correction;
use super::findings::Refused;
use super::plan::Plan;
use super::step::{Step, end, leave_for_next_request};
use super::until::Until;
use crate::error::Error;
use crate::future::BoxFuture;
use crate::ledger::{Ledger, Marker, Markers};
use crate::report::{Direction, Event, MigrationKind, Observer, RunReport};
use crate::session::Session;

impl<C> Runner<C> {
    /// Applies every migration that is not applied, in order, up to the first failure and as far as the [`Budget`](crate::Budget) allows.
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

    /// Applies what is pending, as [`run_pending`](Self::run_pending) does, and calls `observer` for each event as
    /// it happens.
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

    /// Applies what is pending, but only so far, and calls `observer` as
    /// [`run_pending_observed`](Self::run_pending_observed) does. What is still to be applied besides is
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
        if context.is_some() && !matches!(until, Until::Entries(_)) {
            self.give_up_rollback(&session, &markers).await?;
        }
        for (place, migration) in self.registered.migrations().iter().enumerate() {
            let id = migration.id().to_owned();
            if markers.is_applied(&id) {
                report.skipped.push(id);
                continue;
            }
            if place >= plan.end {
                continue;
            }
            if leave_for_next_request(&session, &mut report, migration.id()) {
                continue;
            }
            let Some(context) = context else {
                session.ledger.record_applied(&id, &self.marked_now(&id)).await.map_err(Error::Ledger)?;
                self.log_correction(Correction::Mark, &id);
                report.marked.push(id);
                continue;
            };
            if let Until::Entries(entries) = *until {
                if migration.kind() != MigrationKind::Backfill {
                    return Err(Error::NotABackfill { id });
                }
                session.meter.set_sample(entries);
            }
            let marker = markers.get(&id).and_then(Marker::progress);
            let step = Step {
                migration,
                direction: Direction::Up,
                checkpoint: marker.map(|progress| progress.direction),
                is_out_of_order: place < plan.up_to_last_applied,
                is_sample: matches!(until, Until::Entries(_)),
            };
            self.take_step(&session, &step, context, &mut report).await?;
        }
        end(&session, &mut report);
        Ok(report)
    }

    /// Forgets a rollback of several that is not finished: what it has rolled back is applied again.
    async fn give_up_rollback(&self, session: &Session<'_>, markers: &Markers) -> Result<(), Error> {
        if !markers.has_rollback_note(self.service()) {
            return Ok(());
        }
        session.log().info("[Migration] The rollback that is not finished is given up: a run is asked for");
        session.ledger.forget_rollback().await.map_err(Error::Ledger)
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
}
