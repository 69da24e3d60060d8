//! A run as it happens: one event a line, and a verdict on the last line.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Response;
use kv_migrations::RunReport;
use serde::Serialize;
use worker::send::SendFuture;

use super::body::Body;
use super::json::{lines, to_json, whole_seconds};
use super::problem::Problem;
use super::queue::Queue;
use super::report::note_continuation;
use crate::request::query::Query;

/// The last line. A stream without it was cut off, and does not say how the run ended. `status` is the one that an
/// answer without events has.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LastLine<'a> {
    /// `finished`, `unfinished` or `failed`.
    verdict: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<&'a RunReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a Problem>,
}

/// How a run ended.
type Outcome = Result<RunReport, Box<Problem>>;

/// An answer that runs the migrations while it is read. `run` pushes its events into the queue.
pub(crate) fn stream<F>(run: impl FnOnce(Queue) -> F, query: &Query) -> Response<Body>
where
    F: Future<Output = Outcome> + 'static,
{
    let (requires_up_to_date, is_brief) = (query.requires_up_to_date, query.is_brief);
    let queue = Queue::default();
    let run = run(queue.clone());
    let writer = {
        let queue = queue.clone();
        async move { queue.push(verdict(&mut run.await, requires_up_to_date, is_brief)) }
    };
    lines(Body::lines(queue, SendFuture::new(writer)))
}

/// Streams the events of a run, but answers a run that fails before its first event with a problem.
pub(crate) async fn stream_unless_refused<F>(
    run: impl FnOnce(Queue) -> F,
    query: &Query,
) -> Result<Response<Body>, Box<Problem>>
where
    F: Future<Output = Outcome> + 'static,
{
    let (requires_up_to_date, is_brief) = (query.requires_up_to_date, query.is_brief);
    let queue = Queue::default();
    let run = run(queue.clone());
    let refusal = Arc::<Mutex<Option<Box<Problem>>>>::default();
    let writer = {
        let (queue, refusal) = (queue.clone(), refusal.clone());
        async move {
            match run.await {
                Err(problem) if !queue.has_begun() => *locked(&refusal) = Some(problem),
                mut outcome => queue.push(verdict(&mut outcome, requires_up_to_date, is_brief)),
            }
        }
    };
    let mut body = Body::lines(queue, SendFuture::new(writer));
    body.wait_for_content().await;
    let refusal = locked(&refusal).take();
    refusal.map_or_else(|| Ok(lines(body)), Err)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn verdict(outcome: &mut Outcome, requires_up_to_date: bool, is_brief: bool) -> Vec<u8> {
    if let Ok(report) = outcome {
        if is_brief {
            report.skipped = Vec::new();
        }
        note_continuation(report);
    }
    let (verdict, status, retry_after) = match outcome {
        Ok(report) if report.is_finished() => ("finished", 200, None),
        Ok(report) => {
            let status = if requires_up_to_date { 503 } else { 202 };
            ("unfinished", status, Some(whole_seconds(report.retry_after.unwrap_or_default())))
        }
        Err(problem) => ("failed", problem.status().as_u16(), None),
    };
    let (report, problem) = (outcome.as_ref().ok(), outcome.as_ref().err().map(|problem| &**problem));
    to_json(&LastLine { verdict, status, retry_after, report, problem })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    fn line(mut outcome: Outcome, requires_up_to_date: bool) -> Value {
        serde_json::from_slice(&verdict(&mut outcome, requires_up_to_date, false)).expect("it is JSON")
    }

    fn unfinished() -> RunReport {
        let mut report = RunReport::default();
        report.remaining.push("001_a".to_owned());
        report.retry_after = Some(Duration::from_millis(1_200));
        report
    }

    #[test]
    fn the_last_line_has_the_verdict_and_what_a_plain_answer_has() {
        let finished = line(Ok(RunReport::default()), true);
        assert_eq!(finished["verdict"], "finished");
        assert_eq!(finished["status"], 200);
        assert_eq!(finished["report"]["ran"], json!([]));

        let problem = line(Err(Problem::context("no URL")), false);
        assert_eq!(problem["verdict"], "failed");
        assert_eq!(problem["status"], 500);
        assert_eq!(problem["problem"]["type"], "urn:kv-migrations:problem:context-failed");
    }

    #[test]
    fn a_brief_last_line_leaves_out_what_was_skipped() {
        let line = |is_brief| {
            let mut report = unfinished();
            report.skipped.push("001_a".to_owned());
            String::from_utf8(verdict(&mut Ok(report), false, is_brief)).expect("it is text")
        };
        assert!(line(false).contains(r#""skipped":["001_a"]"#), "{}", line(false));
        assert!(line(true).contains(r#""skipped":[]"#), "{}", line(true));
    }

    #[test]
    fn an_unfinished_run_fails_only_if_it_is_required_to_finish() {
        for (requires_up_to_date, status) in [(false, 202), (true, 503)] {
            let unfinished = line(Ok(unfinished()), requires_up_to_date);
            assert_eq!(unfinished["verdict"], "unfinished");
            assert_eq!(unfinished["status"], status);
            assert_eq!(unfinished["retryAfter"], 2, "rounded up");
            assert_eq!(unfinished["report"]["remaining"], json!(["001_a"]));
        }
    }
}
