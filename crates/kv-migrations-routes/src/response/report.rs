//! Reports as answers, whether a runner or a coordinator made them.

use http::{Response, StatusCode};
use kv_migrations::{RollbackReport, RunReport, State, Status};

use super::body::Body;
use super::json::{accepted, json};
use super::problem::Problem;
use crate::request::query::Query;

/// The state of all migrations: a 409 if one of them is not applied and the caller requires that.
pub(crate) fn status(status: &[Status], query: &Query) -> Response<Body> {
    let is_up_to_date = status.iter().all(|migration| migration.state == State::Applied);
    let is_conflict = query.requires_up_to_date && !is_up_to_date;
    json(if is_conflict { StatusCode::CONFLICT } else { StatusCode::OK }, &status)
}

/// What a run did: a 202 if it is not finished, or a problem if the caller requires that.
pub(crate) fn run(report: RunReport, query: &Query) -> Result<Response<Body>, Box<Problem>> {
    if report.is_finished() {
        Ok(json(StatusCode::OK, &report))
    } else if query.requires_up_to_date {
        Err(Problem::unfinished(report))
    } else {
        Ok(accepted(&report, report.retry_after))
    }
}

/// What a rollback did: a 202 if it is not finished.
pub(crate) fn rollback(report: &RollbackReport) -> Response<Body> {
    if report.is_finished() { json(StatusCode::OK, report) } else { accepted(report, report.retry_after) }
}
