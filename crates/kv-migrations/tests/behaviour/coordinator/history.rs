//! Who ran what, and when.

use std::time::Duration;

use kv_migrations::coordinator::{
    Activity, Caller, CoordinatorError, HistoryEntry, InterventionKind, RunOutcome, TaskKind,
};
use serde_json::{from_value, json, to_value};

use crate::object::{Object, marking};
use crate::service::{failing, good, ids};

#[test]
fn a_finished_run_is_in_the_history_with_caller_times_and_ids() {
    let object = Object::new().with_users(50);
    let coordinator = object.instance(vec![good("001"), marking("002")]);
    let caller = Caller::default().with_label("deploy\n4711\u{7}").queued();
    object.serve(&coordinator, coordinator.run_pending(&caller)).expect("nothing fails");
    let [entry] = &coordinator.history().expect("it can be read")[..] else { panic!("there was one run") };
    assert_eq!((entry.number, entry.action), (1, TaskKind::Migrate));
    assert_eq!(entry.by.as_deref(), Some("deploy4711"), "control characters could break a line of a log");
    assert!(entry.started_at.starts_with("2026-11-22T10:48:28.7"), "{entry:?}");
    assert!(entry.ended_at.is_some());
    assert_eq!((entry.outcome, &entry.ran), (RunOutcome::Finished, &ids(&["001", "002"])));
    assert!(entry.steps > 1 && entry.operations > 50 && entry.duration_ms > 0, "{entry:?}");
}

#[test]
fn the_run_in_progress_is_first_in_the_history() {
    let object = Object::new().with_users(100);
    let coordinator = object.instance(vec![marking("001")]);
    object.migrate(&coordinator).expect("nothing fails");
    let history = coordinator.history().expect("it can be read");
    assert_eq!((history[0].outcome, history[0].migration.as_deref()), (RunOutcome::Running, Some("001")));
}

#[test]
fn a_failed_run_is_in_the_history_with_its_error() {
    let object = Object::new();
    let coordinator = object.instance(vec![failing("001")]);
    object.migrate(&coordinator).expect_err("it fails");
    let [entry] = &coordinator.history().expect("it can be read")[..] else { panic!("there was one run") };
    assert_eq!((entry.outcome, entry.migration.as_deref()), (RunOutcome::Failed, Some("001")));
    assert!(entry.failures[0].error.contains("boom"), "{entry:?}");
}

#[test]
fn a_run_whose_migration_is_taken_off_the_list_half_made_does_not_end_as_finished() {
    let object = Object::new().with_users(100);
    object.migrate(&object.instance(vec![marking("001")])).expect("nothing fails");
    let before = object.marked();
    assert!((1..100).contains(&before), "{before}");

    let next = object.instance(vec![good("002"), marking("003")]);
    // The release that registers it may come back: so long the run is retried.
    object.pass(&next, Duration::from_mins(15));
    let history = next.history().expect("it can be read");
    let [entry] = &history[..] else { panic!("the run was carried on: {history:?}") };
    assert_eq!((entry.outcome, entry.migration.as_deref()), (RunOutcome::Unfinished, Some("001")));
    assert_eq!(entry.ran, ids(&["002", "003"]), "the rest is done");
    let status = object.serve(&next, next.status_report()).expect("it can be read");
    assert_eq!(status.unfinished, ids(&["001"]));
    assert_eq!(object.migrate(&next).expect("nothing is left to do").unfinished, ids(&["001"]));
}

#[test]
fn a_run_whose_migration_is_registered_again_ends_as_finished() {
    let object = Object::new().with_users(100);
    object.migrate(&object.instance(vec![marking("001")])).expect("nothing fails");
    let without = object.instance(vec![marking("002")]);
    object.pass(&without, Duration::from_secs(2));
    let again = object.instance(vec![marking("001"), marking("002")]);
    object.pass(&again, Duration::from_mins(5));
    let history = again.history().expect("it can be read");
    assert_eq!((history.len(), history[0].outcome), (1, RunOutcome::Finished), "{history:?}");
}

#[test]
fn a_run_whose_next_migration_is_taken_off_the_list_before_it_begins_ends_as_unfinished_when_another_is_asked_for()
 {
    // Of the 20 operations of a step, the first migration takes more than half, so that the second one does not begin. The
    // last ones are kept back for what is not known of the entries: ten of them do not fit.
    let object = Object::new().with_users(6);
    let coordinator = object.instance(vec![marking("001"), good("002")]);
    let report = object.migrate(&coordinator).expect("nothing fails");
    assert_eq!(report.remaining, ids(&["002"]), "the first step does not get to it");
    let next = object.instance(vec![marking("001")]);
    object.pass(&next, Duration::from_mins(5));
    let report = object.migrate(&next).expect("the release without it is asked");
    assert!(report.is_finished(), "it has all that it registers: {report:?}");
    let outcomes: Vec<_> = next.history().expect("it can be read").iter().map(|run| run.outcome).collect();
    assert_eq!(outcomes, [RunOutcome::Unfinished], "a run that finds nothing to do is not kept");
}

#[test]
fn a_paused_run_whose_migration_is_taken_off_the_list_is_in_the_history_as_unfinished() {
    let object = Object::new().with_users(100);
    let coordinator = object.instance(vec![marking("001")]);
    object.migrate(&coordinator).expect("nothing fails");
    object.serve(&coordinator, coordinator.pause("001", &Caller::default())).expect("it is under way");
    let next = object.instance(vec![good("002")]);
    let report = object.migrate(&next).expect("another run replaces it");
    assert_eq!((report.ran, report.unfinished), (ids(&["002"]), ids(&["001"])));
    let history = next.history().expect("it can be read");
    let outcomes: Vec<RunOutcome> = history.iter().map(|entry| entry.outcome).collect();
    assert_eq!(outcomes, [RunOutcome::Finished, RunOutcome::Unfinished]);
}

#[test]
fn the_history_has_the_last_hundred_runs_that_did_something() {
    let object = Object::new();
    let coordinator = object.instance(vec![good("001")]);
    for _ in 0..60 {
        object.migrate(&coordinator).expect("it succeeds");
        object.migrate(&coordinator).expect("there is nothing to do");
        object
            .serve(&coordinator, coordinator.rollback("001", &Caller::default()))
            .expect("it has a way back");
    }
    let history = coordinator.history().expect("it can be read");
    assert_eq!(history.len(), 100);
    assert_eq!((history[0].number, history[0].action), (180, TaskKind::Rollback));
    assert!(history.iter().all(|entry| entry.action == TaskKind::Rollback || entry.ran == ["001"]));
}

#[test]
fn a_long_label_is_cut() {
    let object = Object::new();
    let coordinator = object.instance(vec![good("001")]);
    let caller = Caller::default().with_label("ü".repeat(500));
    object.serve(&coordinator, coordinator.run_pending(&caller)).expect("it succeeds");
    let by = coordinator.history().expect("it can be read")[0].by.clone().expect("it was labelled");
    assert_eq!(by.len(), 200);
}

/// The next deploy removed the migration.
#[test]
fn a_rollback_whose_migration_was_removed_is_in_the_history_as_failed() {
    let object = Object::new().with_users(100);
    let coordinator = object.instance(vec![marking("001")]);
    object
        .serve(&coordinator, coordinator.run_pending(&Caller::default().until_finished()))
        .expect("it succeeds");
    object.serve(&coordinator, coordinator.rollback("001", &Caller::default())).expect("it begins");
    let next = object.instance(vec![good("002")]);
    object.pass(&next, Duration::from_mins(1));
    let history = next.history().expect("it can be read");
    assert_eq!((history[0].action, history[0].outcome), (TaskKind::Rollback, RunOutcome::Failed));
    assert!(history[0].failures[0].error.contains("not registered"), "{history:?}");
}

/// What a Rust client does with the answers of the routes.
#[test]
fn the_history_is_read_back_from_its_json() {
    let object = Object::new().with_users(100);
    let coordinator = object.instance(vec![good("001"), marking("002")]);
    let caller = Caller::default().with_label("deploy");
    object.serve(&coordinator, coordinator.run_pending(&caller)).expect("nothing fails");
    object.serve(&coordinator, coordinator.pause("002", &caller)).expect("it is under way");
    object.serve(&coordinator, coordinator.resume("002", &Caller::default())).expect("it is paused");
    object.pass(&coordinator, Duration::from_mins(1));
    object.migrate(&object.instance(vec![failing("003")])).expect_err("it fails");

    let history = coordinator.history().expect("it can be read");
    let json = to_value(&history).expect("it is JSON");
    assert_eq!(from_value::<Vec<HistoryEntry>>(json.clone()).expect("it is a history"), history);
    let (failed, finished) = (&json[0], &json[1]);
    assert_eq!(
        [&failed["action"], &failed["outcome"], &failed["migration"], &failed["failures"][0]["error"]],
        [&json!("migrate"), &json!("failed"), &json!("003"), &json!("Migration 003 failed: boom")]
    );
    let entry = &history[1];
    assert_eq!(
        finished,
        &json!({
            "number": 1,
            "action": "migrate",
            "by": "deploy",
            "startedAt": entry.started_at,
            "endedAt": entry.ended_at,
            "outcome": "finished",
            "ran": ["001", "002"],
            "details": [{
                "id": "002",
                "durationMs": entry.details[0].duration_ms,
                "operations": entry.details[0].operations,
                "entries": { "seen": 100, "changed": 100, "moved": 0, "left": 0 }
            }],
            "steps": entry.steps,
            "durationMs": entry.duration_ms,
            "operations": entry.operations,
            "failedAttempts": 0,
            "interventions": [
                { "at": entry.interventions[0].at, "action": "pause", "by": "deploy" },
                { "at": entry.interventions[1].at, "action": "resume" }
            ]
        })
    );
    assert_eq!(entry.interventions[1].action, InterventionKind::Resume);
}

#[test]
fn the_activity_is_read_back_from_its_json() {
    let object = Object::new().with_users(100);
    let coordinator = object.instance(vec![marking("001")]);
    object.migrate(&coordinator).expect("nothing fails");
    let refusal = object.migrate(&coordinator).expect_err("a run is in progress");
    let CoordinatorError::InProgress(activity) = refusal else { panic!("{refusal:?}") };
    let json = to_value(&activity).expect("it is JSON");
    assert!(json["progress"].is_object() && json.get("by").is_none(), "{json}");
    assert_eq!(from_value::<Activity>(json).expect("it is one"), *activity);
}
