use serde_json::json;

use super::*;
use crate::testing::{Script, answer, events};

/// A run that is asked to go to `001`.
fn run() -> Job {
    let request = Request::post("/migrate").with("to", "001").with_events();
    Job { wait: Wait::ForOwn, release_patience: Some(Duration::from_mins(1)), ..Job::new(request) }
}

fn drive(script: &Script, job: Job, coordination: Coordination) -> Result<Vec<String>, Failure> {
    script.drive(|driver| Ok(driver.run(job, coordination)?.applied))
}

fn finished(ran: &[&str]) -> Value {
    json!({ "verdict": "finished", "status": 200, "report": { "ran": ran, "remaining": [] } })
}

fn unfinished(after: u64) -> Value {
    json!({ "verdict": "unfinished", "status": 202, "retryAfter": after, "report": { "ran": [], "remaining": ["001"] } })
}

fn progress(done: u64) -> Value {
    json!({ "event": "progress", "id": "001", "progress": { "phase": "entries", "done": done } })
}

const PLAIN: &str = "POST /migrate?to=001";
const WAITING: &str = "POST /migrate?to=001&wait=true";

#[test]
fn a_run_is_carried_on_after_as_long_as_it_says() {
    let script =
        Script::new([events([unfinished(1)]), events([unfinished(90)]), events([finished(&["001"])])]);
    assert_eq!(drive(&script, run(), Coordination::None), Ok(vec!["001".to_owned()]));
    assert_eq!(script.waits(), ["Continues 1", "Continues 90"]);
    assert_eq!(script.sent(), [PLAIN, PLAIN, PLAIN]);
}

#[test]
fn what_earlier_requests_and_lost_ones_applied_is_told_once() {
    let applied = |id| json!({ "event": "applied", "id": id });
    let script = Script::new([
        Script::broken_after([applied("001")]),
        events([
            applied("002"),
            json!({ "verdict": "unfinished", "report": { "ran": ["002"], "remaining": ["003"] } }),
        ]),
        events([finished(&["003"])]),
    ]);
    assert_eq!(
        drive(&script, run(), Coordination::None),
        Ok(["001", "002", "003"].map(str::to_owned).to_vec())
    );
}

#[test]
fn after_a_lost_answer_a_coordinated_run_is_waited_for() {
    let script = Script::new([Script::broken_after([progress(5)]), events([finished(&["001"])])]);
    assert!(drive(&script, run(), Coordination::Coordinated).is_ok());
    assert_eq!(script.sent(), [PLAIN, WAITING]);
}

#[test]
fn a_service_without_a_coordinator_is_not_asked_to_wait() {
    let script = Script::new([
        Script::broken(),
        Script::problem(400, "invalid-query"),
        Script::problem(409, "run-in-progress"),
        events([finished(&[])]),
    ]);
    assert!(drive(&script, run(), Coordination::Unknown).is_ok());
    assert_eq!(
        script.sent(),
        [PLAIN, WAITING, PLAIN, PLAIN],
        "and its own run, which may still go on, is waited for"
    );
    assert_eq!(script.waits(), ["Lost 1", "Busy 5"]);
}

#[test]
fn the_run_of_somebody_else_is_waited_for_only_if_that_is_asked_for() {
    let script = Script::new([Script::problem(409, "run-in-progress")]);
    assert_eq!(drive(&script, run(), Coordination::Coordinated).unwrap_err().exit, Exit::Failed);

    let script = Script::new([Script::problem(409, "run-in-progress"), events([finished(&[])])]);
    assert!(drive(&script, Job { wait: Wait::ForAny, ..run() }, Coordination::None).is_ok());
    let script = Script::new([events([finished(&[])])]);
    assert!(drive(&script, Job { wait: Wait::ForAny, ..run() }, Coordination::Coordinated).is_ok());
    assert_eq!(script.sent(), [WAITING]);
}

#[test]
fn losses_end_it_only_where_it_gets_no_further() {
    let further = (0..20).map(|done| Script::broken_after([progress(done)]));
    let script = Script::new(further.chain([events([finished(&[])])]));
    assert!(drive(&script, run(), Coordination::None).is_ok());
    assert!(script.waits().iter().all(|wait| wait == "Lost 1"));

    let stuck = || Script::broken_after([progress(7)]);
    let script = Script::new(std::iter::repeat_with(stuck).take(5));
    assert_eq!(drive(&script, run(), Coordination::None).unwrap_err().exit, Exit::Unreachable);
    assert_eq!(script.waits(), ["Lost 1", "Lost 2", "Lost 4"], "the test has three retries");
}

#[test]
fn events_without_a_verdict_are_a_failure_if_it_happens_again_at_the_same_place() {
    let script = Script::new(std::iter::repeat_with(|| events([progress(7)])).take(4));
    let failure = drive(&script, run(), Coordination::None).unwrap_err();
    assert_eq!(failure.exit, Exit::Failed);
    assert!(failure.message.contains("4 times"), "{failure}");
}

#[test]
fn how_an_answer_ends_it() {
    let table = [
        (Script::problem(401, "unauthorized"), Exit::NoAccess),
        (Script::problem(403, "read-only-token"), Exit::NoAccess),
        (Script::problem(403, "access-not-configured"), Exit::NoAccess),
        (Script::problem(404, "not-found"), Exit::Unreachable),
        (Script::problem(404, "unknown-migration"), Exit::Failed),
        (Script::problem(400, "invalid-query"), Exit::Failed),
        (Script::problem(409, "run-paused"), Exit::Failed),
        (Script::problem(500, "migration-failed"), Exit::Failed),
        (Script::problem(500, "a-type-of-a-later-release"), Exit::Failed),
        (Script::problem(503, "ledger-too-large"), Exit::Failed),
        (Script::foreign(200), Exit::Unreachable),
        (Script::foreign(301), Exit::Unreachable),
        (Script::foreign(404), Exit::Unreachable),
    ];
    for (answered, exit) in table {
        let shown = format!("{answered:?}");
        let script = Script::new([answered]);
        assert_eq!(drive(&script, run(), Coordination::Coordinated).unwrap_err().exit, exit, "{shown}");
        assert!(script.waits().is_empty(), "it is not asked for again");
    }
}

#[test]
fn what_may_pass_is_asked_for_again() {
    let table = [
        (Script::problem(503, "kv-unavailable"), "Unavailable 5"),
        (Script::problem(503, "coordinator-unavailable"), "Unavailable 5"),
        (Script::problem(503, "quota-exhausted"), "Quota 5"),
        (Script::problem(503, "release-mismatch"), "Release 5"),
        (Script::foreign(502), "Lost 1"),
        (Script::foreign(429), "Lost 1"),
        (Script::not_reached(), "Lost 1"),
    ];
    for (answered, wait) in table {
        let script = Script::new([answered, events([finished(&[])])]);
        assert!(drive(&script, run(), Coordination::None).is_ok(), "{wait}");
        assert_eq!(script.waits(), [wait]);
    }
}

#[test]
fn a_page_of_something_else_in_the_middle_of_a_deploy_may_pass() {
    let script = Script::new([events([unfinished(1)]), Script::foreign(404), events([finished(&[])])]);
    assert!(drive(&script, run(), Coordination::None).is_ok());
}

#[test]
fn a_release_that_does_not_come_ends_it_after_its_patience() {
    let script = Script::new(std::iter::repeat_with(|| Script::problem(503, "release-mismatch")).take(13));
    assert_eq!(drive(&script, run(), Coordination::None).unwrap_err().exit, Exit::Deadline);
    assert_eq!(script.waited(), 60);

    let at_once = Script::new([Script::problem(503, "release-mismatch")]);
    let job = Job { release_patience: None, ..run() };
    assert_eq!(drive(&at_once, job, Coordination::None).unwrap_err().exit, Exit::NotUpToDate);
}

#[test]
fn a_pause_beyond_the_deadline_is_not_waited_for() {
    let exhausted = json!({ "verdict": "unfinished", "retryAfter": 36_000, "report": { "remaining": ["001"], "quotaExhausted": true } });
    let script = Script::new([events([exhausted])]);
    let failure = drive(&script, run(), Coordination::Coordinated).unwrap_err();
    assert_eq!((failure.exit, script.waited()), (Exit::Deadline, 0));
    assert!(
        failure.message.contains("quota of the day") && failure.help.contains("continues by itself"),
        "{failure}"
    );
}

#[test]
fn what_cannot_be_repeated_is_not() {
    let entries = Job { is_repeatable: false, ..Job::new(Request::post("/migrate").with("entries", "5")) };
    for lost in [Script::broken(), Script::foreign(500), Script::problem(503, "coordinator-unavailable")] {
        let script = Script::new([lost]);
        assert!(drive(&script, entries.clone(), Coordination::Unknown).is_err());
    }
    let done = answer(200, json!({ "ran": [], "remaining": [], "entries": { "seen": 5 } }));
    let script = Script::new([Script::not_reached(), Script::problem(503, "kv-unavailable"), done]);
    assert!(drive(&script, entries, Coordination::Unknown).is_ok(), "what did not arrive is");
}

#[test]
fn an_answer_says_how_far_it_is_where_it_is_too_short_for_events() {
    let report =
        json!({ "ran": [], "remaining": ["001"], "progress": { "phase": "entries", "done": 7, "total": 9 } });
    let unfinished = json!({ "verdict": "unfinished", "retryAfter": 1, "report": report });
    let script = Script::new([events([unfinished]), events([finished(&["001"])])]);
    assert!(drive(&script, run(), Coordination::None).is_ok());
    assert_eq!(script.events(), ["progress 001 7"]);
}
