//! What the routes answer, whoever did it: the runner here, or a coordinator.

use http::{Response, StatusCode};
use kv_migrations::{RollbackReport, RunReport, State, Status};

use crate::body::Body;
use crate::problem::Problem;
use crate::response::{accepted, json};

/// The state of all migrations.
pub(crate) fn status(status: &[Status], requires_up_to_date: bool) -> Response<Body> {
    let up_to_date = status.iter().all(|migration| migration.state == State::Applied);
    let conflict = requires_up_to_date && !up_to_date;
    json(if conflict { StatusCode::CONFLICT } else { StatusCode::OK }, &status)
}

/// What a run did.
pub(crate) fn run(report: RunReport, requires_up_to_date: bool) -> Result<Response<Body>, Box<Problem>> {
    if report.is_finished() {
        Ok(json(StatusCode::OK, &report))
    } else if requires_up_to_date {
        Err(Problem::unfinished(report))
    } else {
        Ok(accepted(&report, report.retry_after))
    }
}

/// What a rollback did.
pub(crate) fn rollback(report: &RollbackReport) -> Response<Body> {
    if report.is_finished() { json(StatusCode::OK, report) } else { accepted(report, report.retry_after) }
}
