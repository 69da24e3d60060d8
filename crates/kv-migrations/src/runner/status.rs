//! The status of each migration, from what the ledger says.

use crate::ledger::{Marker, Markers};
use crate::migration::Migration;
use crate::report::{State, Status};

/// The status of one migration. `running` is the migration that runs at this moment in this process.
pub(super) fn status<C>(migration: &Migration<C>, markers: &Markers, running: Option<&str>) -> Status {
    let id = migration.id();
    let is_running = running == Some(id);
    let marker = markers.get(id);
    let mut status = Status::pending(id, migration.description(), migration.is_reversible());
    status.progress = marker.and_then(Marker::progress).cloned().map(Box::new);
    if is_running {
        status.state = State::Running;
    }
    match marker {
        Some(Marker::Running(_)) => status.state = State::Running,
        Some(Marker::Applied(applied)) => {
            status.run = true;
            if !is_running {
                status.state = State::Applied;
            }
            status.run_at.clone_from(&applied.run_at);
            status.duration_ms = applied.duration_ms;
            status.operations = applied.operations;
            status.entries = applied.entries;
            status.failed = applied.failed;
            status.failed_keys.clone_from(&applied.failed_keys);
            status.out_of_order = applied.is_out_of_order;
        }
        Some(Marker::Failed { reason, .. }) if !is_running => {
            status.state = State::Failed;
            status.error = Some(reason.clone());
        }
        _ => {}
    }
    status
}
