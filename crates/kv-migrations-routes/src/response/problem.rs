//! Problems: errors as answers (RFC 9457).
//!
//! [`kinds`] lists them all. The other files say which error is of which kind: what is wrong with a request
//! ([`refusal`]), what a runner fails with ([`runner`]), and what only a coordinator answers ([`coordinator`]). Each is a
//! file of its own, so that a Worker without a coordinator does not carry what it does not need.

#![allow(clippy::unnecessary_box_returns, reason = "a result is as large as its error")]

mod coordinator;
mod kinds;
mod refusal;
mod runner;

use std::borrow::Cow;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use kv_migrations::Progress;
use serde::{Serialize, Serializer};

use super::body::Body;
use super::json::{full, to_json, whole_seconds};
use kinds::Kind;

/// An error as it is answered: the members that RFC 9457 names, and ours.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Problem {
    r#type: String,
    title: &'static str,
    #[serde(serialize_with = "serialize_status")]
    status: StatusCode,
    detail: String,
    /// What to do next.
    #[serde(skip_serializing_if = "str::is_empty")]
    help: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    migration: Option<String>,
    /// The migrations that the run applied before it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    ran: Option<Vec<String>>,
    /// Those that were applied before it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<Vec<String>>,
    /// Those that a rollback of several rolled back before it ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rolled_back: Vec<String>,
    /// The request that finishes what refuses this one.
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    continue_with: Option<String>,
    /// The migrations that the release registers which answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    registered: Option<Vec<String>>,
    /// Who asked for the run in progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// When the run in progress began.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// How far the run in progress has got.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<Box<Progress>>,
    #[serde(skip)]
    header: Option<(HeaderName, HeaderValue)>,
}

impl Problem {
    fn new(kind: &Kind, detail: impl Into<String>) -> Box<Self> {
        Self::with_detail(kind, detail.into())
    }

    /// Compiled once for all types of text.
    fn with_detail(kind: &Kind, detail: String) -> Box<Self> {
        Box::new(Self {
            r#type: format!("urn:kv-migrations:problem:{}", kind.name),
            title: kind.title,
            status: kind.status,
            detail,
            help: kind.help.into(),
            migration: None,
            ran: None,
            skipped: None,
            rolled_back: Vec::new(),
            continue_with: None,
            registered: None,
            by: None,
            since: None,
            progress: None,
            header: None,
        })
    }

    fn with_migration(mut self: Box<Self>, id: impl Into<Option<String>>) -> Box<Self> {
        self.migration = id.into();
        self
    }

    fn with_header(mut self: Box<Self>, name: HeaderName, value: HeaderValue) -> Box<Self> {
        self.header = Some((name, value));
        self
    }

    fn with_retry_after(self: Box<Self>, after: Duration) -> Box<Self> {
        self.with_header(RETRY_AFTER, whole_seconds(after).into())
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<Box<Problem>> for Response<Body> {
    fn from(mut problem: Box<Problem>) -> Self {
        let mut response = full(problem.status, "application/problem+json", to_json(&problem));
        if let Some((name, value)) = problem.header.take() {
            response.headers_mut().append(name, value);
        }
        response
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn serialize_status<S: Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;
    use serde_json::{Value, json};

    use super::*;

    fn as_json(problem: &Problem) -> Value {
        serde_json::from_slice(&to_json(problem)).expect("it is JSON")
    }

    #[test]
    fn members_that_do_not_apply_are_left_out() {
        let problem = Problem::new(&kinds::KV_FAILED, "KV list failed.");
        let expected = json!({
            "type": "urn:kv-migrations:problem:kv-failed",
            "title": "KV failed",
            "status": 500,
            "detail": "KV list failed.",
        });
        assert_eq!(as_json(&problem), expected);
    }

    #[test]
    fn a_problem_is_an_answer_with_its_status_and_header() {
        let problem = Problem::new(&kinds::RUN_PAUSED, "A run is paused.")
            .with_migration("001_a".to_owned())
            .with_retry_after(Duration::from_millis(4_001));
        let json = as_json(&problem);
        assert_eq!((&json["migration"], &json["status"]), (&json!("001_a"), &json!(409)));
        assert!(json["help"].as_str().is_some_and(|help| help.contains("resume")));

        let response = Response::<Body>::from(problem);
        assert_eq!(response.status(), StatusCode::CONFLICT);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[RETRY_AFTER], "5");
    }
}
