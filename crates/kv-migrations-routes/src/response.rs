//! Results as responses: JSON, and never kept by a cache.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;

use crate::body::Body;
use crate::problem::Problem;

/// An answer with this status and body.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    respond(status, "application/json", body)
}

fn respond(status: StatusCode, content_type: &'static str, body: &impl Serialize) -> Response<Body> {
    // Reports and problems are made of text and numbers, which always are JSON.
    let mut response = Response::new(Body::new(serde_json::to_vec(body).unwrap_or_default()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl From<Problem> for Response<Body> {
    fn from(problem: Problem) -> Self {
        let mut response = respond(problem.status, "application/problem+json", &problem);
        for (name, value) in problem.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
