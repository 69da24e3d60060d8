//! The free plan's daily quotas are used up: the alarm waits for the next day.

use std::sync::Arc;
use std::time::Duration;

use kv_migrations::coordinator::{Caller, Coordinator, RunOutcome};
use kv_migrations::testing::daily_quota;
use kv_migrations::{Budget, State};

use crate::object::{Object, marking};
use crate::service::{good, ids};

/// An object whose KV takes this many puts, deletes and lists a day.
fn limited(object: &Object, limit: u64) -> Coordinator {
    let store = daily_quota(object.kv.clone(), Arc::new(object.time.clone()), limit);
    object.instance_on(store, vec![marking("001"), good("002")])
}

fn with_users() -> Object {
    Object { budget: Budget::default(), ..Object::new() }.with_users(100)
}

#[test]
fn the_run_waits_for_the_next_day_and_finishes_by_itself() {
    let object = with_users();
    let coordinator = limited(&object, 60);
    let report = object.migrate(&coordinator).expect("nothing is wrong with it");
    assert!(report.quota_exhausted, "{report:?}");
    assert_eq!(report.remaining, ids(&["001", "002"]));
    assert_eq!(object.marked(), 60);
    let status = object.status(&coordinator, "001");
    assert_eq!((status.state, status.error), (State::Running, None), "it has not failed");
    let done = status.progress.map_or(0, |progress| progress.done);
    assert!(done >= 48, "at most the twelve entries at once are done again: {done}");
    let retry_at = status.retry_at.expect("it says when it continues");
    assert!(retry_at.starts_with("2026-11-23T00:00:0"), "{retry_at}");

    object.pass(&coordinator, Duration::from_hours(13));
    assert_eq!(object.marked(), 60, "not before midnight");
    object.pass(&coordinator, Duration::from_mins(15));
    assert_eq!(object.state(&coordinator, "002"), State::Applied);
    let history = coordinator.history().unwrap();
    assert_eq!((history.len(), history[0].outcome), (1, RunOutcome::Finished));
    assert_eq!(history[0].failed_attempts, 0);
    object.pass(&coordinator, Duration::from_hours(1));
    assert_eq!(object.marker("001").as_deref(), Some("true"), "KV has a copy");
}

#[test]
fn who_waits_for_the_end_of_a_run_is_not_kept_waiting_over_night() {
    let object = with_users();
    let coordinator = limited(&object, 60);
    let caller = Caller::default().queued().until_finished();
    let report = object.serve_for(Duration::from_mins(1), &coordinator, coordinator.run_pending(&caller));
    let report = report.expect("it is answered within a minute").expect("nothing is wrong with it");
    assert!(report.quota_exhausted && !report.is_finished(), "{report:?}");
}

#[test]
fn a_new_run_tries_at_once_because_the_plan_may_be_another() {
    let object = with_users();
    let coordinator = limited(&object, 60);
    object.migrate(&coordinator).unwrap();
    let again = object.migrate(&coordinator).expect("it is not refused");
    assert!(again.quota_exhausted, "the quota is still used up: {again:?}");

    let upgraded = object.instance(vec![marking("001"), good("002")]);
    assert_eq!(object.migrate(&upgraded).unwrap().ran, ids(&["001", "002"]));
    let outcomes: Vec<_> = upgraded.history().unwrap().iter().map(|entry| entry.outcome).collect();
    assert_eq!(outcomes, [RunOutcome::Finished, RunOutcome::Unfinished, RunOutcome::Unfinished]);
}

#[test]
fn a_run_that_waits_for_the_quota_can_be_paused_and_cancelled() {
    let object = with_users();
    let coordinator = limited(&object, 60);
    object.migrate(&coordinator).unwrap();
    let paused = object.serve(&coordinator, coordinator.pause("001", &Caller::default())).unwrap();
    assert_eq!(paused.state, State::Paused);
    object.pass(&coordinator, Duration::from_hours(20));
    assert_eq!(object.marked(), 60, "it stays paused on the next day");
    let cancelled = object.serve(&coordinator, coordinator.cancel("001", &Caller::default())).unwrap();
    assert_eq!(cancelled.state, State::Pending);
}

#[test]
fn a_rollback_waits_for_the_next_day_too() {
    let object = with_users();
    let coordinator = object.instance(vec![marking("001"), good("002")]);
    object.migrate(&coordinator).unwrap();
    let coordinator = limited(&object, 60);
    let report = object.serve(&coordinator, coordinator.rollback("001", &Caller::default())).unwrap();
    assert!(report.quota_exhausted && !report.is_finished(), "{report:?}");
    object.pass(&coordinator, Duration::from_hours(14));
    assert_eq!((object.state(&coordinator, "001"), object.marked()), (State::Pending, 0));
}
