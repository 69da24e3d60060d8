//! Takes one migration of a run or of a rollback, and notes in the report what came of it.

use super::Runner;
use super::apply::{Advance, Record, Share, advance, applied, failure};
use super::registered::look_alike_warning;
use crate::change::{Job, NEXT_REQUEST};
use crate::error::Error;
use crate::future::BoxFuture;
use crate::migration::Migration;
use crate::report::{Direction, Event, RunReport};
use crate::session::Session;

/// One migration to apply or to roll back.
pub(super) struct Step<'a, C> {
    pub(super) migration: &'a Migration<C>,
    pub(super) direction: Direction,
    /// The direction of its checkpoint, if it has one.
    pub(super) checkpoint: Option<Direction>,
    pub(super) is_out_of_order: bool,
    /// Whether it is over after a few entries, however far it is then.
    pub(super) is_sample: bool,
}

impl<C> Runner<C> {
    /// Takes a step as far as the budget allows. Boxed, so that it is compiled once for runs and rollbacks.
    pub(super) fn take_step<'a>(
        &'a self,
        session: &'a Session<'_>,
        step: &'a Step<'a, C>,
        context: &'a C,
        report: &'a mut RunReport,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let &Step { migration, direction, checkpoint, is_out_of_order, is_sample } = step;
            let is_up = direction == Direction::Up;
            let Some(change) = (if is_up { Some(migration.up()) } else { migration.down() }) else {
                return Ok(());
            };
            let id = migration.id().to_owned();
            let share = if has_run(report) { Share::Rest } else { Share::Whole };
            let record = if is_up {
                Record { is_out_of_order, revision: migration.named_revision() }
            } else {
                Record::default()
            };
            let mut job = Job::new(session, migration.id(), direction, checkpoint);
            let advance = advance(change, migration.description(), &mut job, context, share, record).await;
            report.entries = is_sample.then(|| job.entries());
            match advance {
                Ok(Advance::Wholly { progress, failed_entries }) => {
                    // Moved, not cloned: a clone costs bytes in every user's wasm.
                    let event =
                        Event::Applied(applied(&job, &progress, change.is_resumable(), failed_entries));
                    session.notify(&event);
                    if let Event::Applied(applied) = event {
                        if is_up {
                            warn(session, report, change.warning(&applied));
                            let look_alike = look_alike_warning(&id, self.registered.ids(), &report.missing);
                            warn(session, report, look_alike);
                        }
                        report.details.push(applied);
                    }
                    if is_out_of_order {
                        report.out_of_order.push(id.clone());
                    }
                    let done = if is_up { &mut report.ran } else { &mut report.rolled_back };
                    done.push(id);
                }
                Ok(Advance::ByAnother) => report.skipped.push(id),
                Ok(Advance::Partly { progress, retry_after }) => {
                    session
                        .log()
                        .info(&format!("[Migration] … {id} is not finished: the next request resumes it"));
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
                    let can_be_resumed = change.is_resumable() || !is_up && checkpoint.is_some();
                    report.progress = can_be_resumed.then(|| job.progress());
                    return Err(failure(session, id, failed, std::mem::take(report)));
                }
            }
            Ok(())
        })
    }
}

fn has_run(report: &RunReport) -> bool {
    !(report.ran.is_empty() && report.marked.is_empty() && report.rolled_back.is_empty())
}

/// Leaves a migration to the next request if so much of the budget is used that no other one begins: it may need more than is
/// left. Those after it follow it. True if it was left.
pub(super) fn leave_for_next_request(session: &Session<'_>, report: &mut RunReport, id: &str) -> bool {
    let is_half_spent = session.meter.left() < session.meter.budget().operations() / 2;
    let is_left = !report.remaining.is_empty() || has_run(report) && is_half_spent;
    if is_left {
        report.retry_after.get_or_insert(NEXT_REQUEST);
        report.remaining.push(id.to_owned());
    }
    is_left
}

/// Notes what the request took, and whether it ended for want of KV's quota.
pub(super) fn end(session: &Session<'_>, report: &mut RunReport) {
    report.operations = session.operations();
    if report.progress.is_some() || !report.is_finished() {
        report.quota_exhausted = session.retry_after_quota(&mut report.retry_after);
    }
}

fn warn(session: &Session<'_>, report: &mut RunReport, warning: Option<String>) {
    if let Some(warning) = warning {
        session.log().info(&format!("[Migration] ! {warning}"));
        report.warnings.push(warning);
    }
}
