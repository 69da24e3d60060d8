//! The status of each migration, from what the ledger says.

use crate::ledger::{AppliedRecord, Marker};
use crate::migration::Migration;
use crate::report::{State, Status};

/// The status of one migration, which may run at this moment in this process.
pub(super) fn status<C>(migration: &Migration<C>, marker: Option<Marker>, is_running: bool) -> Status {
    let mut status =
        Status::pending(migration.id(), migration.description(), migration.is_reversible(), migration.kind());
    match marker {
        Some(Marker::Running(progress)) => {
            status.state = State::Running;
            status.progress = Some(progress);
        }
        Some(Marker::Applied(applied)) => {
            let AppliedRecord {
                run_at,
                duration_ms,
                operations,
                entries,
                failed,
                failed_keys,
                is_out_of_order: out_of_order,
                rollback_error,
                revision,
                by: _,
            } = *applied;
            (status.run, status.state) = (true, State::Applied);
            (status.run_at, status.duration_ms, status.operations) = (run_at, duration_ms, operations);
            (status.entries, status.failed, status.failed_keys) = (entries, failed, failed_keys);
            (status.out_of_order, status.error) = (out_of_order, rollback_error);
            status.revision = revision;
        }
        Some(Marker::Failed { reason, progress }) => {
            status.state = State::Failed;
            status.error = Some(reason).filter(|_| !is_running);
            status.progress = progress;
        }
        None => {}
    }
    if is_running {
        status.state = State::Running;
    }
    status
}
