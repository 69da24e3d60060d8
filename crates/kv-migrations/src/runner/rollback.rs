//! Rolls back one migration, or several.

use super::Runner;
use super::rollback_plan::RollbackPlan;
use super::step::{Step, end, leave_for_next_request};
use super::until::Until;
use crate::error::Error;
use crate::future::BoxFuture;
use crate::ledger::MarkerState;
use crate::report::{Direction, Observer, RollbackReport, RunReport};
use crate::session::Session;

impl<C> Runner<C> {
    /// Runs the `down` of an applied migration and then deletes its marker. A migration that is partly applied or partly
    /// rolled back can be rolled back too.
    ///
    /// The `down` of a backfill or a re-key runs as far as the [`Budget`](crate::Budget) allows. Call it again to resume.
    ///
    /// # Errors
    /// [`Error::UnknownMigration`], [`Error::NotRun`] and [`Error::Irreversible`] if it cannot be rolled back.
    /// [`Error::Failed`] if its `down` failed or its marker could not be deleted: [`Failure::advice`](crate::Failure::advice)
    /// says what the state is then. [`Error::Superseded`] if another run took over.
    pub async fn rollback(&self, id: &str, context: &C) -> Result<RollbackReport, Error> {
        let Some(migration) = self.registered.get(id) else {
            return Err(Error::UnknownMigration { id: id.to_owned() });
        };
        // Asked first, as the TypeScript runner does.
        if !migration.is_reversible() {
            return Err(Error::Irreversible { id: id.to_owned() });
        }
        let session = Session::open(&self.settings, &|_| {})?;
        let marker = match session.ledger.state_of(id).await? {
            MarkerState::Nothing => return Err(Error::NotRun { id: id.to_owned(), action: "rollback" }),
            MarkerState::Applied => None,
            MarkerState::Unfinished(checkpoint) => Some(checkpoint.progress.direction),
        };
        let mut done = RunReport::default();
        self.roll_back(&session, &[(id, marker)], context, &mut done).await?;
        let mut report = RollbackReport {
            rolled_back: done.rolled_back.pop(),
            operations: done.operations,
            quota_exhausted: done.quota_exhausted,
            retry_after: done.retry_after,
            ..RollbackReport::default()
        };
        if let Some(details) = done.details.pop() {
            (report.duration_ms, report.entries) = (details.duration_ms, details.entries);
            report.failed_entries = details.failed_entries;
        } else if let Some(progress) = done.progress.take() {
            (report.duration_ms, report.entries) = (progress.duration_ms, Some(progress.entries));
            report.progress = Some(progress);
        }
        Ok(report)
    }

    /// Rolls back several migrations, the one that is registered last first: all after a [migration](Until::Migration), the
    /// last of them by [number](Until::Steps), or [all](Until::End). Those that are not applied, and have not begun, are left
    /// out.
    ///
    /// Markers that KV's list does not show yet are read by their keys, since a rollback in the wrong order does harm: one
    /// operation for every 100 of them.
    ///
    /// It rolls back as far as the [`Budget`](crate::Budget) allows. If the report is not [finished](RunReport::is_finished),
    /// continue with its [`to`](RunReport::to), or with [`Until::End`] if it has none: both are safe to repeat. A number of
    /// steps would be others, and is refused until then. A run gives up what is not finished.
    ///
    /// # Errors
    /// Before anything is changed: [`Error::UnknownMigration`] and [`Error::NotRun`] if the migration that is to stay is not
    /// registered or not applied, [`Error::Irreversible`] if one of those to roll back has no `down`,
    /// [`Error::NotRegistered`] if others are applied that are not registered, [`Error::RollbackUnfinished`],
    /// [`Error::NotABackfill`] if a number of entries is asked for, [`Error::LedgerTooLarge`].
    /// [`Error::Failed`] and [`Error::Superseded`] as for [`rollback`](Self::rollback): those before the one that
    /// failed [are rolled back](crate::Failure::report). [`Error::Ledger`].
    ///
    /// # Example
    /// ```
    /// use kv_migrations::{Migration, Runner, Until, kv::MemoryStore};
    ///
    /// # async fn example() -> Result<(), kv_migrations::Error> {
    /// let migration = |id: &'static str| {
    ///     Migration::new(id, "", async |_, _: &()| Ok(())).with_down(async |_, _| Ok(()))
    /// };
    /// let migrations = vec![migration("001"), migration("002"), migration("003")];
    /// let runner = Runner::new(MemoryStore::new(), "my-service", migrations)?;
    /// runner.run_pending(&()).await?;
    ///
    /// let report = runner.rollback_until(&Until::Migration("001".to_owned()), &()).await?;
    /// assert_eq!(report.rolled_back, ["003", "002"]);
    /// assert!(runner.is_run("001").await?);
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example()).unwrap();
    /// ```
    pub fn rollback_until<'a>(
        &'a self,
        until: &'a Until,
        context: &'a C,
    ) -> BoxFuture<'a, Result<RunReport, Error>> {
        self.rollback_until_observed(until, context, &|_| {})
    }

    /// Like [`rollback_until`](Self::rollback_until), and calls `observer` when each migration begins and when it
    /// [is rolled back](crate::Event::Applied).
    pub(crate) fn rollback_until_observed<'a>(
        &'a self,
        until: &'a Until,
        context: &'a C,
        observer: &'a Observer<'a>,
    ) -> BoxFuture<'a, Result<RunReport, Error>> {
        Box::pin(async move {
            let session = Session::open(&self.settings, observer)?;
            let ledger = &session.ledger;
            let markers = ledger.load_by_key(self.registered.ids()).await?;
            let note = ledger.rollback_note(&markers).await?;
            let RollbackPlan { to, steps } =
                RollbackPlan::new(&self.registered, self.service(), &markers, note.as_deref(), until)?;
            let last = to.clone().unwrap_or_default();
            let has_note = note.is_some() || steps.len() > 1;
            if has_note && !steps.is_empty() && note.is_none_or(|note| note != last) {
                ledger.note_rollback(&last).await?;
            }
            let mut report = RunReport { to, ..RunReport::default() };
            self.roll_back(&session, &steps, context, &mut report).await?;
            if has_note && report.is_finished() {
                ledger.forget_rollback().await.map_err(Error::Ledger)?;
                report.operations = session.operations();
            }
            Ok(report)
        })
    }

    /// Rolls migrations back, each with the direction of its checkpoint, and notes in the report how far that got.
    async fn roll_back(
        &self,
        session: &Session<'_>,
        steps: &[(&str, Option<Direction>)],
        context: &C,
        report: &mut RunReport,
    ) -> Result<(), Error> {
        for &(id, checkpoint) in steps {
            let Some(migration) = self.registered.get(id) else { continue };
            if !leave_for_next_request(session, report, id) {
                let step = Step {
                    migration,
                    direction: Direction::Down,
                    checkpoint,
                    is_out_of_order: false,
                    is_sample: false,
                };
                self.take_step(session, &step, context, report).await?;
            }
        }
        end(session, report);
        Ok(())
    }
}
