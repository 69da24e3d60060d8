//! JSON and lines of it as answers, which no cache keeps.

mod writer;

use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde::Serialize;

use super::body::Body;
use crate::request::head::NDJSON;
use writer::JsonWriter;

/// An answer with this status and body.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    full(status, "application/json", to_json(body))
}

/// A 202 with the time after which to ask again.
pub(crate) fn accepted(body: &impl Serialize, retry_after: Option<Duration>) -> Response<Body> {
    ended(false, body, retry_after)
}

/// What something did that may not be finished: a 200, or a 202 with the time after which to ask again.
pub(crate) fn ended(
    is_finished: bool,
    body: &impl Serialize,
    retry_after: Option<Duration>,
) -> Response<Body> {
    let mut response = json(if is_finished { StatusCode::OK } else { StatusCode::ACCEPTED }, body);
    if !is_finished {
        let seconds = whole_seconds(retry_after.unwrap_or_default());
        response.headers_mut().append(RETRY_AFTER, seconds.into());
    }
    response
}

/// An answer whose lines are written while it is read.
pub(crate) fn lines(body: Body) -> Response<Body> {
    respond(StatusCode::OK, NDJSON, body)
}

/// A time as `Retry-After` takes it, rounded up: at least one second.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0)).max(1)
}

/// Reports and problems consist of text and numbers, so that writing them as JSON cannot fail.
pub(crate) fn to_json(body: &impl Serialize) -> Vec<u8> {
    let mut writer = JsonWriter::default();
    body.serialize(&mut writer).map(|()| writer.json).unwrap_or_default()
}

/// An answer with all of its body.
pub(super) fn full(status: StatusCode, content_type: &'static str, content: Vec<u8>) -> Response<Body> {
    respond(status, content_type, Body::full(content))
}

fn respond(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    // Here and elsewhere `append`, which `worker` links already: `insert` would add itself.
    let headers = response.headers_mut();
    headers.append(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.append(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_in_whole_seconds_and_never_zero() {
        for (pause, seconds) in [
            (Duration::ZERO, 1),
            (Duration::from_millis(1_001), 2),
            (Duration::from_secs(7), 7),
            (Duration::MAX, u64::MAX),
        ] {
            assert_eq!(whole_seconds(pause), seconds, "{pause:?}");
        }
    }
}
