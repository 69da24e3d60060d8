//! Reports as answers, whether a runner or a coordinator made them.

use http::header::{HeaderName, HeaderValue};
use http::{Response, StatusCode};
use kv_migrations::{PlanReport, RollbackReport, RunReport, State, StatusReport};

use super::body::Body;
use super::json::{ended, json};
use super::problem::Problem;
use crate::request::permission::Permission;
use crate::request::query::{Query, push_encoded, rollback_request};

/// The header of a status that counts the migrations of the service that are not registered.
const UNREGISTERED: HeaderName = HeaderName::from_static("kv-migrations-unregistered");

/// The state of all migrations: a 409 if one of them is not applied and the caller requires that.
pub(crate) fn status(report: &StatusReport, query: &Query) -> Response<Body> {
    let StatusReport { migrations, missing, unfinished, .. } = report;
    let is_up_to_date = migrations.iter().all(|migration| migration.state == State::Applied);
    let is_conflict = query.requires_up_to_date && !is_up_to_date;
    let mut response = json(if is_conflict { StatusCode::CONFLICT } else { StatusCode::OK }, migrations);
    let unregistered = match (missing.len(), unfinished.len()) {
        _ if report.missing_unknown => "unknown".to_owned(),
        (0, 0) => return response,
        (missing, unfinished) => format!("missing={missing}, unfinished={unfinished}"),
    };
    if let Ok(value) = HeaderValue::from_str(&unregistered) {
        response.headers_mut().append(UNREGISTERED, value);
    }
    response
}

/// What a run would do.
pub(crate) fn plan(mut report: PlanReport, permission: Permission) -> Response<Body> {
    let access = if permission == Permission::Full { "full" } else { "read" };
    report.access = Some(access.to_owned());
    json(StatusCode::OK, &report)
}

/// What a run did: a 202 if it is not finished, or a problem if the caller requires that.
pub(crate) fn run(mut report: RunReport, query: &Query) -> Result<Response<Body>, Box<Problem>> {
    if query.is_brief {
        report.skipped = Vec::new();
    }
    if query.requires_up_to_date && !report.is_finished() {
        return Err(Problem::unfinished(&mut report));
    }
    note_continuation(&mut report);
    Ok(ended(report.is_finished(), &report, report.retry_after))
}

/// What a rollback of several did: a 202 if it is not finished, with the request that continues it.
pub(crate) fn rollback_of_several(mut report: RunReport) -> Response<Body> {
    if !report.is_finished() {
        report.continue_with = Some(rollback_request(report.to.as_deref()));
    }
    ended(report.is_finished(), &report, report.retry_after)
}

/// Says which request continues a run, unless that is the same one.
pub(super) fn note_continuation(report: &mut RunReport) {
    if !report.is_finished()
        && let Some(to) = &report.to
    {
        let mut path = "/migrate?to=".to_owned();
        push_encoded(&mut path, to);
        report.continue_with = Some(path);
    }
}

/// What a rollback did: a 202 if it is not finished.
pub(crate) fn rollback(report: &RollbackReport) -> Response<Body> {
    ended(report.is_finished(), report, report.retry_after)
}
