//! Applies or rolls back one migration, and records it in the ledger.

use std::error::Error as StdError;
use std::time::Duration;

use crate::change::{Change, Job, NEXT_REQUEST, Outcome, run_change};
use crate::clock::iso8601;
use crate::error::{BoxError, Error, Failure, Stage, reason};
use crate::future::BoxFuture;
use crate::kv::{KvError, KvErrorKind, Operation};
use crate::ledger::{AppliedRecord, FailureRecord};
use crate::report::{AppliedMigration, Direction, Event, FailedEntry, Progress, RunReport};
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

/// What a marker says beside what its migration did.
#[derive(Clone, Copy, Default)]
pub(super) struct Record<'a> {
    pub(super) is_out_of_order: bool,
    pub(super) revision: Option<&'a str>,
}

/// How much of its budget a run gives to a migration.
#[derive(PartialEq, Eq)]
pub(super) enum Share {
    Whole,
    Rest,
}

/// The error of a run that another one replaced: it must not record the migration.
fn replaced(id: &str) -> BoxError {
    KvError::new(Operation::Put, id, KvErrorKind::Superseded).into()
}

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

/// What a migration took that is applied, or rolled back, wholly.
pub(super) fn applied(
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

/// The error for what failed: a failure, or that another run took over.
pub(super) fn failure(session: &Session<'_>, id: String, failed: Failed, report: RunReport) -> Error {
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

/// Applies a migration and records it, or undoes it and deletes its marker. If it cannot advance within the rest of a
/// budget, the next run tries with a whole one; if it cannot advance within a whole one, it fails. `record`
/// is what its marker is to say beside what it did.
pub(super) async fn advance<C>(
    change: &dyn Change<C>,
    description: &str,
    job: &mut Job<'_>,
    context: &C,
    share: Share,
    record: Record<'_>,
) -> Result<Advance, Failed> {
    let (session, id) = (job.session(), job.id());
    let is_up = job.direction() == Direction::Up;
    let stage = if is_up { Stage::Up } else { Stage::Down };
    begin(session, id, is_up.then_some(description), stage)?;
    if is_up && sabotage::is_on(Defect::MarkBeforeFinish) {
        recording(job, &job.progress(), AppliedRecord::default()).await.ok();
    }
    let result = match run_change(change, job, context).await {
        Ok(Outcome::Done(failed_entries)) => Ok(failed_entries),
        Ok(Outcome::AlreadyApplied) => return Ok(Advance::ByAnother),
        Ok(Outcome::Paused { retry_after }) => {
            return Ok(Advance::Partly { progress: Some(job.progress()), retry_after });
        }
        Ok(Outcome::OverBudget { .. }) if share == Share::Rest => {
            return Ok(Advance::Partly { progress: None, retry_after: NEXT_REQUEST });
        }
        // A run that another one replaced has used up its time too.
        Ok(Outcome::OverBudget { .. }) if !session.is_current() => Err(replaced(id)),
        Ok(Outcome::OverBudget { reason }) => Err(reason.into()),
        Err(error) => Err(error),
    };
    let is_resumable = change.is_resumable();
    let progress = job.progress();
    job.wait_for_marker().await;
    let failed = match result {
        Ok(failed_entries) => {
            let entries = is_resumable.then_some(progress.entries);
            let Record { is_out_of_order, revision } = record;
            let revision = revision.map(str::to_owned);
            let mut applied =
                AppliedRecord { entries, is_out_of_order, revision, ..AppliedRecord::default() };
            change.add_skipped(&mut applied, &failed_entries);
            let recorded = recording(job, &progress, applied).await;
            let stage = if is_up { Stage::Record } else { Stage::Unrecord };
            let Err(error) = recorded else {
                let done = if is_up { "Completed" } else { "Rolled back" };
                session.log().info(&format!("[Migration] ✓ {done} {id}"));
                return Ok(Advance::Wholly { progress, failed_entries });
            };
            Failed::new(stage, error.into())
        }
        Err(error) => Failed::new(stage, error),
    };
    if session.is_over_quota() {
        // Nothing is wrong with the migration.
        session.log().info(&format!("[Migration] … {id}: {}", failed.reason));
        let progress = is_resumable.then_some(progress);
        return Ok(Advance::Partly { progress, retry_after: NEXT_REQUEST });
    }
    if matches!(failed.stage, Stage::Record | Stage::Unrecord) {
        return Err(failed);
    }
    if let Some(recording) = failure_recording(job, &failed.reason, is_resumable)
        && let Err(error) = recording.await
    {
        session.log().error(&format!("[Migration] The failure of {id} could not be recorded: {error}"));
    }
    if is_up {
        session.notify(&Event::Failed { id: id.to_owned(), error: failed.reason.clone() });
    }
    Err(failed)
}

/// Notes that the migration begins: an `up` with a description, or a `down`. Fails if another run has the lease.
fn begin(session: &Session<'_>, id: &str, description: Option<&str>, stage: Stage) -> Result<(), Failed> {
    let mut line = match description {
        Some(description) => format!("[Migration] Running {id}: {description}"),
        None => format!("[Migration] Rolling back {id}"),
    };
    if let Some(by) = session.label() {
        line = format!("{line}, as {by} asked");
    }
    if !session.begin(id, &line) {
        return Err(Failed::new(stage, replaced(id)));
    }
    let description = description.unwrap_or_default().to_owned();
    session.notify(&Event::Started { id: id.to_owned(), description });
    Ok(())
}

/// The write that marks the migration as applied, or deletes its marker.
fn recording<'a>(
    job: &Job<'a>,
    progress: &Progress,
    mut applied: AppliedRecord,
) -> BoxFuture<'a, Result<(), KvError>> {
    let (ledger, id) = (&job.session().ledger, job.id());
    if job.direction() == Direction::Down {
        return ledger.delete(id);
    }
    applied.run_at = Some(iso8601(job.session().now()));
    applied.duration_ms = Some(progress.duration_ms);
    applied.operations = Some(progress.operations);
    applied.by = job.session().label().map(str::to_owned);
    ledger.record_applied(id, &applied)
}

/// What records the failure for a later status, and the checkpoint for a later run. If that fails too, only the log says
/// so: the first failure is what matters. `None` if there may be a checkpoint that could not be read.
fn failure_recording<'b, 'a: 'b>(
    job: &mut Job<'a>,
    reason: &'b str,
    is_resumable: bool,
) -> Option<BoxFuture<'b, Result<(), Error>>> {
    let mut checkpoint = job.take_checkpoint();
    if is_resumable && checkpoint.is_none() {
        return None;
    }
    let at = iso8601(job.session().now());
    if let Some(checkpoint) = &mut checkpoint {
        // The next run writes the marker a second later at the earliest.
        checkpoint.progress.checkpoint_at.clone_from(&at);
    }
    let failure = FailureRecord { at, reason };
    Some(job.session().ledger.record_failed(job.id(), job.direction(), failure, checkpoint))
}
