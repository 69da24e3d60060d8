//! Applies or rolls back one migration, and records it in the ledger.

use std::time::Duration;

use crate::change::{Change, Job, NEXT_REQUEST, Outcome};
use crate::clock::iso8601;
use crate::error::{BoxError, Stage, reason};
use crate::ledger::{AppliedRecord, FailureRecord};
use crate::migration::Migration;
use crate::report::{AppliedMigration, EntryCounts, Event, FailedEntry, Progress};
use crate::sabotage::{self, Defect};
use crate::session::Session;

/// How far a migration was applied.
pub(super) enum Applied {
    Now(AppliedMigration),
    /// Another run applied it in the meantime.
    ByAnother,
    /// The next run resumes it; from the beginning, if there is no progress.
    Partly {
        progress: Option<Box<Progress>>,
        retry_after: Duration,
    },
}

/// How far a migration was rolled back.
pub(super) enum RolledBack {
    Wholly { failed_entries: Vec<FailedEntry> },
    Partly { retry_after: Duration },
}

/// How much of its budget a run gives to a migration.
#[derive(PartialEq, Eq)]
pub(super) enum Share {
    Whole,
    Rest,
}

/// What failed.
pub(super) struct Failed {
    pub(super) stage: Stage,
    pub(super) error: BoxError,
}

/// Applies a migration and records it. If it cannot advance within the rest of a budget, the next run tries with a whole
/// one; if it cannot advance within a whole one, it fails.
pub(super) async fn apply<C>(
    migration: &Migration<C>,
    job: &mut Job<'_>,
    context: &C,
    share: Share,
    is_out_of_order: bool,
) -> Result<Applied, Failed> {
    let (session, id) = (job.session(), migration.id());
    let description = migration.description();
    begin(session, id, &format!("[Migration] Running {id}: {description}"), Stage::Up)?;
    session.notify(&Event::Started { id: id.to_owned(), description: description.to_owned() });
    if sabotage::is_on(Defect::MarkBeforeFinish) {
        record(job, None, Vec::new(), is_out_of_order).await?;
    }
    let result = match migration.up().run(job, context).await {
        Ok(Outcome::OverBudget { reason }) if share == Share::Whole => Err(reason.into()),
        outcome => outcome,
    };
    let partly = match result {
        Ok(Outcome::Done(failed_entries)) => {
            let entries = migration.up().is_resumable().then(|| job.progress().entries);
            let applied = record(job, entries, failed_entries, is_out_of_order).await?;
            session.log().info(&format!("[Migration] ✓ Completed {id}"));
            return Ok(Applied::Now(applied));
        }
        Ok(Outcome::AlreadyApplied) => return Ok(Applied::ByAnother),
        Ok(Outcome::Paused { retry_after }) => {
            Applied::Partly { progress: Some(job.progress()), retry_after }
        }
        Ok(Outcome::OverBudget { .. }) => Applied::Partly { progress: None, retry_after: NEXT_REQUEST },
        Err(error) => {
            let text = reason(&*error);
            record_failure(job, &text, migration.up().is_resumable()).await;
            session.notify(&Event::Failed { id: id.to_owned(), error: text });
            return Err(Failed { stage: Stage::Up, error });
        }
    };
    session.log().info(&format!("[Migration] … {id} is not finished: the next run resumes it"));
    session.notify(&Event::Paused { id: id.to_owned() });
    Ok(partly)
}

/// Undoes a migration and deletes its marker.
pub(super) async fn roll_back<C>(
    down: &dyn Change<C>,
    job: &mut Job<'_>,
    context: &C,
) -> Result<RolledBack, Failed> {
    let (session, id) = (job.session(), job.id());
    begin(session, id, &format!("[Migration] Rolling back {id}"), Stage::Down)?;
    let result = match down.run(job, context).await {
        Ok(Outcome::Done(failed_entries)) => Ok(failed_entries),
        Ok(Outcome::Paused { retry_after }) => {
            session.log().info(&format!("[Migration] … {id} is partly rolled back: roll it back again"));
            return Ok(RolledBack::Partly { retry_after });
        }
        // A `down` never is; and nothing would be left to do.
        Ok(Outcome::AlreadyApplied) => Ok(Vec::new()),
        Ok(Outcome::OverBudget { reason }) => Err(reason.into()),
        Err(error) => Err(error),
    };
    let failed_entries = match result {
        Ok(failed_entries) => failed_entries,
        Err(error) => {
            if down.is_resumable() {
                record_failure(job, &reason(&*error), true).await;
            }
            return Err(Failed { stage: Stage::Down, error });
        }
    };
    job.wait_for_marker().await;
    let deleted = session.ledger.delete(id).await;
    deleted.map_err(|error| Failed { stage: Stage::Unrecord, error: error.into() })?;
    session.log().info(&format!("[Migration] ✓ Rolled back {id}"));
    Ok(RolledBack::Wholly { failed_entries })
}

/// Notes that the migration begins. Fails if another run has the lease.
fn begin(session: &Session<'_>, id: &str, line: &str, stage: Stage) -> Result<(), Failed> {
    if session.begin(id, line) {
        return Ok(());
    }
    Err(Failed { stage, error: "another run has replaced it".into() })
}

async fn record(
    job: &Job<'_>,
    entries: Option<EntryCounts>,
    failed_entries: Vec<FailedEntry>,
    is_out_of_order: bool,
) -> Result<AppliedMigration, Failed> {
    let (session, id) = (job.session(), job.id());
    let Progress { duration_ms, operations, .. } = *job.progress();
    let run_at = Some(iso8601(session.now()));
    let applied = AppliedRecord {
        run_at,
        duration_ms: Some(duration_ms),
        operations: Some(operations),
        entries,
        is_out_of_order,
        ..AppliedRecord::default()
    }
    .with_failed_entries(&failed_entries);
    job.wait_for_marker().await;
    let recorded = session.ledger.record_applied(id, &applied).await;
    recorded.map_err(|error| Failed { stage: Stage::Record, error: error.into() })?;
    let (id, more_failed_entries) = (id.to_owned(), 0);
    Ok(AppliedMigration { id, duration_ms, operations, entries, failed_entries, more_failed_entries })
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
    if checkpoint.is_some() {
        job.wait_for_marker().await;
    }
    let at = iso8601(session.now());
    if let Some(checkpoint) = &mut checkpoint {
        // The next run writes the marker a second later at the earliest.
        checkpoint.progress.checkpoint_at.clone_from(&at);
    }
    let failure = FailureRecord { at: &at, reason };
    if let Err(error) = session.ledger.record_failed(id, &failure, checkpoint.as_ref()).await {
        session.log().error(&format!("[Migration] The failure of {id} could not be recorded: {error}"));
    }
}
