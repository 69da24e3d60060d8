//! Results as responses: JSON, and never kept by a cache.

use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde::Serialize;

use crate::body::Body;
use crate::head::NDJSON;
use crate::problem::Problem;

/// An answer with this status and body.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    respond(status, "application/json", Body::new(to_json(body)))
}

/// The same for something that is not finished: with the time after which to ask for more.
pub(crate) fn accepted(body: &impl Serialize, retry_after: Option<Duration>) -> Response<Body> {
    let mut response = json(StatusCode::ACCEPTED, body);
    let seconds = whole_seconds(retry_after.unwrap_or_default());
    response.headers_mut().append(RETRY_AFTER, seconds.into());
    response
}

/// An answer whose lines are written while it is read.
pub(crate) fn lines(body: Body) -> Response<Body> {
    respond(StatusCode::OK, NDJSON, body)
}

/// As `Retry-After` takes them: at least one.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    (duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(1)
}

/// Reports and problems are made of text and numbers, which always are JSON.
pub(crate) fn to_json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}

/// Two objects of JSON made one.
pub(crate) fn joined(mut first: Vec<u8>, second: &[u8]) -> Vec<u8> {
    first.pop();
    first.push(b',');
    first.extend_from_slice(second.strip_prefix(b"{").unwrap_or_default());
    first
}

fn respond(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.append(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.append(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The members of a problem, as RFC 9457 names them, and ours.
#[derive(Serialize)]
struct Members<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    help: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    migration: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ran: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<&'a [String]>,
}

impl From<Box<Problem>> for Response<Body> {
    fn from(problem: Box<Problem>) -> Self {
        let body = problem.to_json();
        let status = StatusCode::from_u16(problem.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = respond(status, "application/problem+json", Body::new(body));
        if let Some((name, value)) = problem.header {
            response.headers_mut().append(name, value);
        }
        response
    }
}

impl Problem {
    /// The members as JSON.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let Self { kind, progress, .. } = self;
        let members = to_json(&Members {
            r#type: format!("urn:kv-migrations:problem:{}", kind.name),
            title: kind.title,
            status: kind.status,
            detail: &self.detail,
            help: &self.help,
            migration: self.migration.as_deref(),
            ran: progress.as_ref().map(|(ran, _)| ran.as_slice()),
            skipped: progress.as_ref().map(|(_, skipped)| skipped.as_slice()),
        });
        match &self.more {
            Some(more) => joined(members, more),
            None => members,
        }
    }
}
