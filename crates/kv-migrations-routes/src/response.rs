//! Results as responses: JSON, and never kept by a cache.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;

use crate::body::Body;
use crate::problem::Problem;

/// An answer with this status and body.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    respond(status, "application/json", to_json(body))
}

/// Reports and problems are made of text and numbers, which always are JSON.
fn to_json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}

fn respond(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::new(body));
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
        let kind = problem.kind;
        let progress = problem.progress.as_ref();
        let body = to_json(&Members {
            r#type: format!("urn:kv-migrations:problem:{}", kind.name),
            title: kind.title,
            status: kind.status,
            detail: &problem.detail,
            help: &problem.help,
            migration: problem.migration.as_deref(),
            ran: progress.map(|(ran, _)| ran.as_slice()),
            skipped: progress.map(|(_, skipped)| skipped.as_slice()),
        });
        let status = StatusCode::from_u16(kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = respond(status, "application/problem+json", body);
        if let Some((name, value)) = problem.header {
            response.headers_mut().append(name, value);
        }
        response
    }
}
