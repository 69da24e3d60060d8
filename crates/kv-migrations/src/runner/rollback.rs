//! Rolls migrations back.

use super::Runner;
use super::apply::{Advance, Record, Share, advance, failure};
use crate::change::Job;
use crate::error::Error;
use crate::ledger::MarkerState;
use crate::report::{Direction, RollbackReport, RunReport};
use crate::session::Session;

impl<C> Runner<C> {
    /// Runs the `down` of an applied migration and then deletes its marker. A migration that is partly applied or partly
    /// rolled back can be rolled back too.
    ///
    /// The `down` of a backfill or a re-key runs as far as the [`Budget`](crate::Budget) allows. Call it again to resume.
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
}
