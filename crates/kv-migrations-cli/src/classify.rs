//! What kind of answer a reply is.

use serde::Deserialize;
use serde_json::Value;

use crate::answer::Problem;
use crate::http::Reply;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// It is done: 200, or a run that finished.
    Done(Value),
    /// It is to be carried on, after this number of seconds: 202.
    Unfinished(Value, u64),
    /// The routes refuse, or failed.
    Problem { problem: Problem, raw: Value, retry_after: Option<u64> },
    /// Events ended without a verdict.
    WithoutVerdict,
    /// Something else answered than the routes: why that is so.
    Foreign { status: u16, reason: String },
}

/// The last line of events.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    #[serde(rename = "verdict")]
    outcome: String,
    #[serde(default)]
    retry_after: Option<u64>,
    #[serde(default)]
    report: Value,
    #[serde(default)]
    problem: Value,
}

pub(crate) fn classify(reply: &Reply) -> Answer {
    let json = || serde_json::from_str::<Value>(&reply.body).ok();
    let retry_after = reply.retry_after;
    let answer = match (reply.status, reply.content_type.as_str()) {
        (200, "application/x-ndjson") => Some(verdict(&reply.body)),
        (200, "application/json") => json().map(Answer::Done),
        (202, "application/json") => json().map(|body| Answer::Unfinished(body, retry_after.unwrap_or(1))),
        (_, "application/problem+json") => json().and_then(|raw| problem(raw, retry_after)),
        _ => None,
    };
    answer.unwrap_or_else(|| foreign(reply))
}

fn verdict(line: &str) -> Answer {
    let Ok(last) = serde_json::from_str::<Verdict>(line) else { return Answer::WithoutVerdict };
    match last.outcome.as_str() {
        "finished" => Answer::Done(last.report),
        "unfinished" => Answer::Unfinished(last.report, last.retry_after.unwrap_or(1)),
        _ => problem(last.problem, last.retry_after).unwrap_or(Answer::WithoutVerdict),
    }
}

fn problem(raw: Value, retry_after: Option<u64>) -> Option<Answer> {
    let problem = Problem::deserialize(&raw).ok()?;
    problem.kind()?;
    Some(Answer::Problem { problem, raw, retry_after })
}

fn foreign(reply: &Reply) -> Answer {
    let Reply { status, content_type, location, .. } = reply;
    let reason = match location {
        Some(location) => format!("it redirects to {location} (status {status})"),
        None if content_type.is_empty() => format!("it has status {status} and no content"),
        None => format!("it has status {status} and is {content_type}"),
    };
    Answer::Foreign { status: *status, reason }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reply(status: u16, content_type: &str, body: &str) -> Reply {
        let (content_type, body) = (content_type.to_owned(), body.to_owned());
        Reply { status, content_type, body, ..Reply::default() }
    }

    #[test]
    fn answers_of_the_routes_are_told_from_others() {
        let is_foreign = |status, content_type, body| {
            matches!(classify(&reply(status, content_type, body)), Answer::Foreign { .. })
        };
        assert!(is_foreign(200, "text/html", "<!doctype html>"), "an app's page");
        assert!(is_foreign(200, "application/json", "no JSON"));
        assert!(is_foreign(405, "", ""), "static assets");
        assert!(
            is_foreign(404, "application/problem+json", r#"{"type":"about:blank"}"#),
            "another's problem"
        );
        assert!(is_foreign(500, "text/plain", "error code: 1101"), "the runtime's");
        assert!(is_foreign(403, "application/json", "{}"), "a firewall's");
        assert_eq!(classify(&reply(200, "application/json", "[]")), Answer::Done(json!([])));
        assert_eq!(classify(&reply(202, "application/json", "{}")), Answer::Unfinished(json!({}), 1));
        let body = r#"{"type":"urn:kv-migrations:problem:not-run","status":409,"detail":"d"}"#;
        let Answer::Problem { problem, .. } = classify(&reply(409, "application/problem+json", body)) else {
            panic!("it is a problem");
        };
        assert_eq!((problem.kind(), problem.detail.as_str()), (Some("not-run"), "d"));
    }

    #[test]
    fn events_end_with_a_verdict() {
        let last = |line| classify(&reply(200, "application/x-ndjson", line));
        assert_eq!(
            last(r#"{"verdict":"finished","status":200,"report":{"ran":[]}}"#),
            Answer::Done(json!({ "ran": [] }))
        );
        let unfinished = r#"{"verdict":"unfinished","status":202,"retryAfter":7,"report":{}}"#;
        assert_eq!(last(unfinished), Answer::Unfinished(json!({}), 7));
        let failed =
            r#"{"verdict":"failed","status":500,"problem":{"type":"urn:kv-migrations:problem:failed"}}"#;
        assert!(matches!(last(failed), Answer::Problem { .. }));
        for cut in ["", r#"{"event":"started","id":"001"}"#, r#"{"verdict":"fini"#] {
            assert_eq!(last(cut), Answer::WithoutVerdict, "{cut}");
        }
    }
}
