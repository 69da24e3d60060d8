//! Applies or rolls back one migration, and records it in the ledger.

use std::time::Duration;

use crate::change::{Change, Job, NEXT_REQUEST, Outcome};
use crate::clock::iso8601;
use crate::error::{BoxError, Error, Stage, reason};
use crate::ledger::{AppliedRecord, FailureRecord};
use crate::report::{Direction, EntryCounts, Event, FailedEntry, Progress};
use crate::sabotage::{self, Defect};
use crate::session::Session;

/// How far a migration was applied or rolled back.
pub(super) enum Advance {
    /// Wholly, except for these entries, and that is recorded.
    Wholly { progress: Box<Progress>, failed_entries: Vec<FailedEntry> },
    /// Another run applied it in the meantime.
    ByAnother,
    /// The next request resumes it; from the beginning, if there is no progress.
    Partly { progress: Option<Box<Progress>>, retry_after: Duration },
}

/// How much of its budget a run gives to a migration.
#[derive(PartialEq, Eq)]
pub(super) enum Share {
    Whole,
    Rest,
}

/// The error of a run that another one replaced.
pub(super) const REPLACED: &str = "another run has replaced it";

/// What failed.
pub(super) struct Failed {
    pub(super) stage: Stage,
    pub(super) reason: String,
    pub(super) error: BoxError,
}

impl Failed {
    pub(super) fn new(stage: Stage, error: BoxError) -> Self {
        Self { stage, reason: reason(&*error), error }
    }
}

/// Applies a migration and records it, or undoes it and deletes its marker. If it cannot advance within the rest of a
/// budget, the next run tries with a whole one; if it cannot advance within a whole one, it fails.
pub(super) async fn advance<C>(
    change: &dyn Change<C>,
    job: &mut Job<'_>,
    context: &C,
    share: Share,
    is_out_of_order: bool,
) -> Result<Advance, Failed> {
    let (session, id) = (job.session(), job.id());
    let is_up = job.direction() == Direction::Up;
    if is_up && sabotage::is_on(Defect::MarkBeforeFinish) {
        record(job, None, &[], is_out_of_order).await?;
    }
    let result = match change.run(job, context).await {
        Ok(Outcome::Done(failed_entries)) => Ok(failed_entries),
        Ok(Outcome::AlreadyApplied) if is_up => return Ok(Advance::ByAnother),
        // A `down` never is; and nothing would be left to do.
        Ok(Outcome::AlreadyApplied) => Ok(Vec::new()),
        Ok(Outcome::Paused { retry_after }) => {
            return Ok(Advance::Partly { progress: Some(job.progress()), retry_after });
        }
        Ok(Outcome::OverBudget { .. }) if share == Share::Rest => {
            return Ok(Advance::Partly { progress: None, retry_after: NEXT_REQUEST });
        }
        // A run that another one replaced has used up its time too.
        Ok(Outcome::OverBudget { .. }) if !session.is_current() => Err(REPLACED.into()),
        Ok(Outcome::OverBudget { reason }) => Err(reason.into()),
        Err(error) => Err(error),
    };
    let is_resumable = change.is_resumable();
    match result {
        Ok(failed_entries) => {
            let entries = is_resumable.then(|| job.progress().entries);
            let progress = record(job, entries, &failed_entries, is_out_of_order).await?;
            let done = if is_up { "Completed" } else { "Rolled back" };
            session.log().info(&format!("[Migration] ✓ {done} {id}"));
            Ok(Advance::Wholly { progress, failed_entries })
        }
        Err(error) => {
            let failed = Failed::new(if is_up { Stage::Up } else { Stage::Down }, error);
            if is_up || is_resumable {
                record_failure(job, &failed.reason, is_resumable).await;
            } else {
                note(session, id, session.ledger.record_failed_rollback(id, &failed.reason).await);
            }
            if is_up {
                session.notify(&Event::Failed { id: id.to_owned(), error: failed.reason.clone() });
            }
            Err(failed)
        }
    }
}

/// Marks the migration as applied, or deletes its marker. Returns its progress until then.
async fn record(
    job: &Job<'_>,
    entries: Option<EntryCounts>,
    failed_entries: &[FailedEntry],
    is_out_of_order: bool,
) -> Result<Box<Progress>, Failed> {
    let (ledger, id) = (&job.session().ledger, job.id());
    let progress = job.progress();
    let run_at = iso8601(job.session().now());
    job.wait_for_marker().await;
    let (recorded, stage) = if job.direction() == Direction::Down {
        (ledger.delete(id), Stage::Unrecord)
    } else {
        let applied = AppliedRecord {
            run_at: Some(run_at),
            duration_ms: Some(progress.duration_ms),
            operations: Some(progress.operations),
            entries,
            is_out_of_order,
            ..AppliedRecord::default()
        };
        (ledger.record_applied(id, &applied.with_failed_entries(failed_entries)), Stage::Record)
    };
    recorded.await.map_err(|error| Failed::new(stage, error.into()))?;
    Ok(progress)
}

/// Records the failure for a later status, and the checkpoint for a later run. If that fails too, only the log says so: the
/// first failure is what matters.
async fn record_failure(job: &mut Job<'_>, reason: &str, is_resumable: bool) {
    let mut checkpoint = job.take_checkpoint();
    if is_resumable && checkpoint.is_none() {
        // There may be a checkpoint that could not be read.
        return;
    }
    let (session, id) = (job.session(), job.id());
    job.wait_for_marker().await;
    let at = iso8601(session.now());
    if let Some(checkpoint) = &mut checkpoint {
        // The next run writes the marker a second later at the earliest.
        checkpoint.progress.checkpoint_at.clone_from(&at);
    }
    let failure = FailureRecord { at: &at, reason };
    note(session, id, session.ledger.record_failed(id, &failure, checkpoint.as_ref()).await);
}

/// Logs that a failure could not be recorded.
fn note(session: &Session<'_>, id: &str, recorded: Result<(), Error>) {
    if let Err(error) = recorded {
        session.log().error(&format!("[Migration] The failure of {id} could not be recorded: {error}"));
    }
}
