//! A run, told event by event as it happens: one JSON value a line, and a verdict on the last.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Response;
use kv_migrations::RunReport;
use serde::Serialize;
use worker::send::SendFuture;

use crate::body::{Body, Queue};
use crate::problem::Problem;
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

/// What a run came to.
type Outcome = Result<RunReport, Box<Problem>>;

/// The answer, which runs the migrations while it is read. What `run` tells, it pushes into the queue.
pub(crate) fn events<F>(run: impl FnOnce(Queue) -> F, requires_up_to_date: bool) -> Response<Body>
where
    F: Future<Output = Outcome> + 'static,
{
    let queue = Queue::default();
    let run = run(queue.clone());
    let writer = {
        let queue = queue.clone();
        async move { queue.push(last_line(run.await, requires_up_to_date)) }
    };
    lines(Body::lines(queue, SendFuture::new(writer)))
}

/// The same, but what is refused before it has told anything is an error like any other.
pub(crate) async fn events_unless_refused<F>(
    run: impl FnOnce(Queue) -> F,
    requires_up_to_date: bool,
) -> Result<Response<Body>, Box<Problem>>
where
    F: Future<Output = Outcome> + 'static,
{
    let queue = Queue::default();
    let run = run(queue.clone());
    let refusal = Arc::<Mutex<Option<Box<Problem>>>>::default();
    let writer = {
        let (queue, refusal) = (queue.clone(), refusal.clone());
        async move {
            match run.await {
                Err(problem) if !queue.has_begun() => *locked(&refusal) = Some(problem),
                outcome => queue.push(last_line(outcome, requires_up_to_date)),
            }
        }
    };
    let mut body = Body::lines(queue, SendFuture::new(writer));
    body.begun().await;
    let refusal = locked(&refusal).take();
    refusal.map_or_else(|| Ok(lines(body)), Err)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The verdict, and beside it the body that a plain answer would have had.
fn last_line(outcome: Outcome, requires_up_to_date: bool) -> Vec<u8> {
    let (verdict, name, body) = match outcome {
        Ok(report) if report.is_finished() => {
            (LastLine { verdict: "finished", status: 200, retry_after: None }, "report", to_json(&report))
        }
        Ok(report) => {
            let status = if requires_up_to_date { 503 } else { 202 };
            let retry_after = Some(whole_seconds(report.retry_after.unwrap_or_default()));
            (LastLine { verdict: "unfinished", status, retry_after }, "report", to_json(&report))
        }
        Err(problem) => {
            let status = problem.kind.status;
            (LastLine { verdict: "failed", status, retry_after: None }, "problem", problem.to_json())
        }
    };
    let mut line = to_json(&verdict);
    // Its closing brace.
    line.pop();
    for part in [b",\"", name.as_bytes(), b"\":", &body, b"}"] {
        line.extend_from_slice(part);
    }
    line
}
