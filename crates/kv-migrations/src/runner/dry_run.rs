//! Runs what is pending without writing anything.

use std::sync::Arc;

use super::Runner;
use super::until::Until;
use crate::change::NEXT_REQUEST;
use crate::dry_run::{DryRun, DryRunStores, Known, NoLog};
use crate::error::Error;
use crate::future::BoxFuture;
use crate::ledger::{AppliedRecord, Ledger};
use crate::lock::RunLock;
use crate::log::EscapedLog;
use crate::migration::Migration;
use crate::report::{DryRunReport, DryRunStop, Event, MigrationKind, RunReport, Status};
use crate::session::Settings;

impl<C> Runner<C> {
    /// Runs the code of what is pending against the data as it is, and writes nothing: no entry, no marker, no failure. What
    /// it would write is kept in memory, where later reads and lists of the dry run see it. [`DryRun`] has an example.
    ///
    /// A long migration is run as a run would, request by request, without the waits. All of it happens in this one call, which
    /// stops in good order once it has used up the [`Budget`](crate::Budget), or once 16 MiB are kept: see
    /// [`complete`](DryRunReport::complete). Writes cost it nothing, so that it gets further than a run with the same budget.
    ///
    /// It takes no lock. What the service or a run writes meanwhile may be seen or not.
    ///
    /// Only what goes through the [`Kv`](crate::kv::Kv) of the migration is held back, and the namespaces that a
    /// [`with_store`](crate::kv::Kv::with_store), a backfill, a fold or a re-key names. Nothing else is: not a `fetch`, not
    /// D1, not a binding that the migration takes out of its context. Leave those out where
    /// [`Kv::is_dry_run`](crate::kv::Kv::is_dry_run) says so. Each [store](crate::kv::Store) that is handed over counts as a namespace of its
    /// own, in which what was written through another one is not seen.
    ///
    /// # Errors
    /// Those of a run that is refused before it begins: see [`run_pending`](Self::run_pending).
    /// [`Error::UnknownMigration`]. A migration that fails is no error, but in the report.
    pub fn dry_run<'a>(
        &'a self,
        dry_run: &'a DryRun,
        context: &'a C,
    ) -> BoxFuture<'a, Result<DryRunReport, Error>> {
        Box::pin(async move {
            let Settings { store, clock, budget, .. } = &self.settings;
            let stores = Arc::new(DryRunStores::new(store, clock, *budget, self.ledger().key(""), dry_run));
            let settings = Settings {
                store: stores.own(),
                clock: stores.clock(),
                log: EscapedLog(Arc::new(NoLog)),
                lock: RunLock::new(),
                interrupt: stores.interrupt(),
                namespaces: Some(stores.clone()),
                ..self.settings.clone()
            };
            let runner =
                Self { registered: self.registered.clone(), settings, refused: self.refused.clone() };
            let (until, pending) = runner.prepare(dry_run).await?;
            let in_progress = in_progress(&dry_run.ledger).or_else(|| self.settings.lock.running(&**clock));
            let (is_finished, warnings) = runner.run_all(&stores, &until, context).await?;
            let mut report = stores.report();
            if let Some(last) =
                report.migrations.last_mut().filter(|_| report.stopped == Some(DryRunStop::Failed))
            {
                last.complete = false;
            }
            report.complete = is_finished && !stores.is_cut_off();
            if report.complete {
                report.stopped = None;
            }
            let is_done = |id: &String| report.migrations.iter().any(|done| done.complete && done.id == *id);
            report.remaining = pending.into_iter().filter(|id| !is_done(id)).collect();
            (report.warnings, report.in_progress) = (warnings, in_progress);
            Ok(report)
        })
    }

    /// Writes what is known of the ledger over the markers in KV. Returns how far to run, and what is pending till there.
    async fn prepare(&self, dry_run: &DryRun) -> Result<(Until, Vec<String>), Error> {
        let ledger = self.ledger();
        for Known { id, is_applied, revision, has_checkpoint, .. } in &dry_run.ledger {
            // Of a migration that has a checkpoint, the copy in KV is taken for it.
            if *is_applied || !has_checkpoint || ledger.is_applied(id).await? {
                self.note_known(&ledger, id, *is_applied, revision.clone()).await?;
            }
        }
        let until = match (&dry_run.only, &dry_run.to, dry_run.steps) {
            (Some(id), ..) | (None, Some(id), _) => Until::Migration(id.clone()),
            (None, None, Some(steps)) => Until::Steps(steps),
            (None, None, None) => Until::End,
        };
        let plan = self.plan(&until).await?;
        let mut pending = Vec::new();
        for Status { id, .. } in plan.steps {
            if dry_run.only.as_ref().is_some_and(|only| *only != id) {
                self.note_known(&ledger, &id, true, self.revision_of(&id)).await?;
            } else {
                pending.push(id);
            }
        }
        // A number of steps is another one after each request.
        Ok((plan.to.map_or(Until::End, Until::Migration), pending))
    }

    /// Has the ledger say that a migration is applied or that it is not.
    fn note_known<'a>(
        &self,
        ledger: &'a Ledger,
        id: &'a str,
        is_applied: bool,
        revision: Option<String>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        let written = if is_applied {
            ledger.record_applied(id, &AppliedRecord { revision, ..*self.marked_now(id) })
        } else {
            ledger.delete(id)
        };
        Box::pin(async move { written.await.map_err(Error::Ledger) })
    }

    /// Makes one request after another, as somebody who asks again and again. Returns whether all was run to its end, and
    /// what was warned of.
    async fn run_all(
        &self,
        stores: &DryRunStores,
        until: &Until,
        context: &C,
    ) -> Result<(bool, Vec<String>), Error> {
        let kind = |id: &str| self.registered.get(id).map_or(MigrationKind::Plain, Migration::kind);
        let observer = |event: &Event| stores.note(event, kind);
        let mut warnings = Vec::new();
        loop {
            stores.begin_request();
            let report = match self.run_or_mark(until, Some(context), &observer).await {
                Ok(report) => report,
                Err(_) if stores.is_cut_off() => return Ok((false, warnings)),
                Err(Error::Failed(failure)) => {
                    stores.fail(&failure.id, &failure.reason);
                    note_progress(stores, &failure.id, &failure.report);
                    return Ok((false, warnings));
                }
                Err(error) => return Err(error),
            };
            if let Some(id) = report.remaining.first() {
                note_progress(stores, id, &report);
            }
            let is_finished = report.is_finished();
            warnings.extend(report.warnings);
            if report.quota_exhausted {
                stores.stop(DryRunStop::Quota);
            }
            if is_finished || stores.is_stopped() {
                return Ok((is_finished, warnings));
            }
            stores.skip(report.retry_after.unwrap_or(NEXT_REQUEST));
        }
    }
}

fn note_progress(stores: &DryRunStores, id: &str, report: &RunReport) {
    if let Some(progress) = &report.progress {
        stores.note_entries(id, progress.entries);
    }
}

/// The migration that a coordinator says has begun and is not finished.
fn in_progress(ledger: &[Known]) -> Option<String> {
    ledger.iter().find(|known| known.is_begun).map(|known| known.id.clone())
}
