//! The free plan's daily quotas are used up: the alarm waits for the next day.

use std::sync::Arc;
use std::time::Duration;

use kv_migrations::coordinator::{Caller, Coordinator, RowChange, RunOutcome, Storage};
use kv_migrations::testing::daily_quota;
use kv_migrations::{Budget, Migration, Rekey, State};

use crate::object::{Object, marking, marking_in};
use crate::service::{good, ids, marked};

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

/// An object whose migrations may make this many puts and deletes a day.
fn allowed(object: &Object, writes: u64) -> Coordinator {
    object.instance(vec![marking("001"), good("002")]).with_writes_per_day(writes)
}

#[test]
fn migrations_leave_the_rest_of_the_days_writes_to_the_service() {
    let object = with_users();
    let coordinator = allowed(&object, 50);
    let report = object.migrate(&coordinator).expect("nothing is wrong with it");
    assert!(report.quota_exhausted, "{report:?}");
    assert_eq!(object.marked(), 45, "a tenth is kept for copies of markers");
    object.pass(&coordinator, Duration::from_hours(1));
    assert!(object.marker("001").is_some(), "the copy of its checkpoint is not refused");

    let again = object.migrate(&coordinator).expect("it is not refused");
    assert!(again.quota_exhausted, "asking again does not make more: {again:?}");
    let restarted = allowed(&object, 50);
    object.migrate(&restarted).expect("it is not refused");
    assert_eq!(object.marked(), 45, "nor does another instance");

    object.pass(&restarted, Duration::from_hours(14));
    assert!((85..=90).contains(&object.marked()), "the next day: {}", object.marked());
    object.pass(&restarted, Duration::from_hours(24));
    assert_eq!((object.marked(), object.state(&restarted, "002")), (100, State::Applied));
}

#[test]
fn writes_in_another_namespace_are_counted_too() {
    let object = Object { budget: Budget::default(), ..Object::new() };
    let other = object.another_namespace_with_users(100);
    let coordinator = object.instance(vec![marking_in("001", &object, &other)]).with_writes_per_day(50);
    let report = object.migrate(&coordinator).expect("nothing is wrong with it");
    assert!(report.quota_exhausted, "{report:?}");
    assert_eq!(marked(&other), 45, "the quotas are for all namespaces of the account together");
    object.pass(&coordinator, Duration::from_hours(10 * 24));
    assert_eq!((marked(&other), object.state(&coordinator, "001")), (100, State::Applied));
}

#[test]
fn deletes_are_counted_beside_puts() {
    let object = with_users();
    let rekey = Migration::rekey("001", "", Rekey::prefix("user_", "user:"));
    let coordinator = object.instance(vec![rekey]).with_writes_per_day(50);
    object.migrate(&coordinator).expect("nothing is wrong with it");
    let count =
        |start: &str| object.kv.entries().iter().filter(|(key, _)| key.name.starts_with(start)).count();
    assert_eq!((count("user:"), count("user_")), (45, 100));
    object.pass(&coordinator, Duration::from_hours(10 * 24));
    assert_eq!((count("user:"), count("user_")), (100, 0));
    assert_eq!(object.state(&coordinator, "001"), State::Applied);
}

#[test]
fn a_damaged_count_is_told_and_can_be_removed() {
    let object = with_users();
    let coordinator = allowed(&object, 50);
    object.migrate(&coordinator).unwrap();
    object.storage.write(&[RowChange::put("writes", b"[1,{".to_vec())]).unwrap();
    let caller = Caller::default().queued();
    let asked = object.serve_for(Duration::from_mins(1), &coordinator, coordinator.run_pending(&caller));
    let error = asked.expect("it is answered").expect_err("it cannot go on").to_string();
    assert!(error.contains("`writes`"), "{error}");
    object.serve(&coordinator, coordinator.cancel("001", &Caller::default())).unwrap();
    let goes_on = object.serve(&coordinator, coordinator.run_pending(&Caller::default().queued()));
    goes_on.expect("the count begins again");
    assert!(object.marked() > 45, "{}", object.marked());
}
