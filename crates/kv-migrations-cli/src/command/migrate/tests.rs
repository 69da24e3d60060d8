use super::*;
use crate::testing::{Script, answer, events};

fn args() -> Args {
    Args {
        to: None,
        steps: None,
        entries: None,
        wait: false,
        deadline: Duration::from_hours(1),
        expect: Some("003".to_owned()),
        any_release: false,
        release_deadline: Duration::from_mins(1),
        migrations: PathBuf::from("no/such/directory"),
        by: None,
    }
}

fn migrated(script: &Script, args: &Args) -> Result<Exit, Failure> {
    script.drive(|driver| run(args, driver))
}

fn plan(steps: &[&str]) -> Value {
    let steps = steps.iter().map(|id| json!({ "id": id, "state": "pending" })).collect::<Vec<_>>();
    json!({ "steps": steps, "findings": [{ "finding": "missing", "id": "000" }], "access": "full" })
}

fn statuses(applied: &[&str]) -> Value {
    ["001", "002", "003"].iter().map(|id| json!({ "id": id, "run": applied.contains(id) })).collect()
}

fn finished() -> Value {
    let report = json!({ "ran": ["002"], "remaining": [], "beyond": ["003"], "warnings": ["no entry"] });
    json!({ "verdict": "finished", "status": 200, "report": report })
}

#[test]
fn it_plans_runs_to_the_last_step_and_checks() {
    let args = Args { steps: Some(1), by: Some("me".to_owned()), ..args() };
    let script = Script::new([
        answer(200, plan(&["002"])),
        Script::problem(404, "not-found"),
        events([json!({ "event": "applied", "id": "002" }), finished()]),
        answer(200, statuses(&["001"])),
        answer(200, statuses(&["001", "002"])),
    ]);
    assert_eq!(migrated(&script, &args), Ok(Exit::Done));
    assert_eq!(
        script.sent(),
        [
            "GET /migrations/plan?steps=1&expect=003",
            "GET /migrations/history",
            "POST /migrate?expect=003&by=me&to=002",
            "GET /migrations/status?expect=003",
            "GET /migrations/status?expect=003",
        ]
    );
    assert_eq!(script.waits(), ["Busy 5"], "KV shows it a little later");
    assert_eq!(script.results(), ["done: 1 applied: 002\nnot asked for: 003"]);
    assert_eq!(
        script.notes(),
        [
            "warning: 000 is applied and not registered: removed from the list, or of a later release",
            "warning: no entry"
        ]
    );
    assert_eq!(script.json()[0]["ran"], json!(["002"]));
}

#[test]
fn it_runs_nothing_where_nothing_is_pending() {
    let script = Script::new([answer(200, plan(&[]))]);
    assert_eq!(migrated(&script, &args()), Ok(Exit::Done));
}

#[test]
fn a_token_that_may_only_read_is_told_before_the_run() {
    let read = json!({ "steps": [{ "id": "001" }], "access": "read" });
    let script = Script::new([answer(200, read)]);
    assert_eq!(migrated(&script, &args()).unwrap_err().exit, Exit::NoAccess);
}

#[test]
fn what_never_shows_as_applied_is_not_up_to_date() {
    let run = [
        answer(200, plan(&["002"])),
        answer(200, json!([{ "number": 1, "action": "migrate" }])),
        events([finished()]),
    ];
    let script = Script::new(run.into_iter().chain(std::iter::repeat_n(answer(200, statuses(&["001"])), 37)));
    assert_eq!(migrated(&script, &args()).unwrap_err().exit, Exit::NotUpToDate);
    assert_eq!(script.waited(), 180);
}

#[test]
fn a_few_entries_are_one_request() {
    let args = Args { entries: Some(5), ..args() };
    let report = json!({ "ran": [], "remaining": [], "entries": { "seen": 5, "changed": 5 }, "progress": { "done": 9, "total": 20 } });
    let script = Script::new([answer(200, report)]);
    assert_eq!(migrated(&script, &args), Ok(Exit::Done));
    assert_eq!(script.sent(), ["POST /migrate?expect=003&entries=5"]);
    assert_eq!(script.results(), ["done: 5 entries seen, 5 changed, 0 moved, 0 left\nin all: 9 of 20"]);
}

#[test]
fn a_service_behind_the_routes_passes_for_no_coordinator() {
    for other in
        [Script::foreign(200), answer(200, json!({ "hello": "world" })), answer(200, json!([{ "id": 1 }]))]
    {
        let script = Script::new([other]);
        assert_eq!(script.drive(coordination), Ok(Coordination::None));
    }
    let script = Script::new([answer(200, json!([]))]);
    assert_eq!(script.drive(coordination), Ok(Coordination::Coordinated));
}

#[test]
fn without_sources_it_says_that_any_release_is_run() {
    let script = Script::new([answer(200, plan(&[]))]);
    assert_eq!(migrated(&script, &Args { expect: None, ..args() }), Ok(Exit::Done));
    assert!(script.notes()[0].contains("no/such/directory/mod.rs"), "{:?}", script.notes());
    assert_eq!(script.sent(), ["GET /migrations/plan"]);
}
