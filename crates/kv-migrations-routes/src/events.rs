//! A run, told event by event as it happens: one JSON value a line, and a verdict on the last.

use http::Response;
use kv_migrations::{Error, RunReport, Runner};
use serde::Serialize;
use worker::send::SendFuture;

use crate::body::{Body, Queue};
use crate::problem::Problem;
use crate::query::Query;
use crate::response::{lines, to_json, whole_seconds};

/// The last line. A stream that ends without it was cut off, and says nothing of how the run went.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LastLine {
    verdict: &'static str,
    /// What a plain answer would have had.
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

/// The answer, which runs the migrations while it is read.
pub(crate) fn events<C: 'static>(runner: Runner<C>, context: C, query: Query) -> Response<Body> {
    let queue = Queue::default();
    let writer = {
        let queue = queue.clone();
        async move {
            let result = runner.run_pending_observed(&context, |event| queue.push(to_json(&event))).await;
            queue.push(last_line(result, query));
        }
    };
    lines(Body::lines(queue, SendFuture::new(writer)))
}

/// The verdict, and beside it the body that a plain answer would have had.
fn last_line(result: Result<RunReport, Error>, query: Query) -> Vec<u8> {
    let (verdict, name, body) = match result {
        Ok(report) if report.is_finished() => {
            (LastLine { verdict: "finished", status: 200, retry_after: None }, "report", to_json(&report))
        }
        Ok(report) => {
            let status = if query.require_up_to_date { 503 } else { 202 };
            let retry_after = Some(whole_seconds(report.retry_after.unwrap_or_default()));
            (LastLine { verdict: "unfinished", status, retry_after }, "report", to_json(&report))
        }
        Err(error) => {
            let problem: Box<Problem> = error.into();
            let status = problem.kind.status;
            (LastLine { verdict: "failed", status, retry_after: None }, "problem", problem.to_json())
        }
    };
    let mut line = to_json(&verdict);
    // Two objects of JSON made one.
    line.pop();
    line.extend_from_slice(format!(",\"{name}\":").as_bytes());
    line.extend_from_slice(&body);
    line.push(b'}');
    line
}
