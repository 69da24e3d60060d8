//! A run is done step by step.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use kv_migrations::clock::Clock;
use kv_migrations::coordinator::{Caller, CoordinatorError, RunOutcome};
use kv_migrations::{Error, State};

use crate::object::{Object, marking};
use crate::service::{failing, good, ids};

#[test]
fn what_fits_in_one_step_is_answered_as_done() {
    let object = Object::new();
    let coordinator = object.instance(vec![good("001"), good("002")]);
    let report = object.migrate(&coordinator).expect("they succeed");
    assert_eq!(report.ran, ids(&["001", "002"]));
    assert!(report.is_finished());
    assert_eq!(object.kv.value("done/002").unwrap(), b"true");

    let again = object.migrate(&coordinator).expect("there is nothing to do");
    assert_eq!((again.ran, again.skipped), (ids(&[]), ids(&["001", "002"])));
    assert_eq!(again.operations, 1, "the markers are listed");
}

#[test]
fn a_status_costs_no_kv_operation() {
    let object = Object::new();
    let coordinator = object.instance(vec![good("001")]);
    object.migrate(&coordinator).expect("it succeeds");
    let before = object.kv.operations();
    assert_eq!(object.state(&coordinator, "001"), State::Applied);
    assert_eq!(object.kv.operations(), before);
}

#[test]
fn what_does_not_fit_is_carried_on_by_alarms() {
    let object = Object::new().with_users(100);
    let coordinator = object.instance(vec![marking("001"), good("002")]);
    let first = object.migrate(&coordinator).expect("nothing fails");
    assert_eq!(first.remaining, ids(&["001", "002"]));
    assert!(first.retry_after.is_some(), "alarms carry on");
    let progress = object.status(&coordinator, "001").progress.expect("it is under way");
    assert!((1..100).contains(&progress.done), "{progress:?}");

    object.pass(&coordinator, Duration::from_mins(1));
    assert_eq!(object.marked(), 100);
    assert_eq!(object.state(&coordinator, "001"), State::Applied);
    assert_eq!(object.kv.value("done/002").unwrap(), b"true", "and what is behind it");
    assert_eq!(object.storage.alarm(), None, "nothing is left to be done");
}

#[test]
fn who_waits_gets_the_report_of_all_steps() {
    let object = Object::new().with_users(100);
    let coordinator = object.instance(vec![good("001"), marking("002"), good("003")]);
    let report = object.serve(&coordinator, coordinator.run_pending(&Caller::default().queued()));
    let report = report.expect("nothing fails");
    assert_eq!(report.ran, ids(&["001", "002", "003"]));
    assert_eq!(report.skipped, ids(&[]), "what it ran itself is not skipped");
    assert_eq!(report.details.len(), 3);
    assert!(report.is_finished());
    assert!(report.operations > 100, "of all steps: {}", report.operations);
}

#[test]
fn a_rollback_is_carried_on_too() {
    let object = Object::new().with_users(100);
    let coordinator = object.instance(vec![marking("001")]);
    object.serve(&coordinator, coordinator.run_pending(&Caller::default().queued())).expect("it succeeds");
    let first = object.serve(&coordinator, coordinator.rollback("001", &Caller::default()));
    assert!(!first.expect("nothing fails").is_finished());
    object.pass(&coordinator, Duration::from_mins(1));
    assert_eq!(object.marked(), 0);
    assert_eq!(object.state(&coordinator, "001"), State::Pending);
    assert_eq!(object.marker("001"), None);
}

#[test]
fn what_cannot_be_rolled_back_is_refused_as_without_a_coordinator() {
    let object = Object::new();
    let coordinator = object.instance(vec![good("001")]);
    let refused = object.serve(&coordinator, coordinator.rollback("001", &Caller::default()));
    assert!(matches!(refused, Err(CoordinatorError::Runner(Error::NotRun { .. }))), "{refused:?}");
    let refused = object.serve(&coordinator, coordinator.rollback("nobody", &Caller::default()));
    assert!(matches!(refused, Err(CoordinatorError::Runner(Error::UnknownMigration { .. }))), "{refused:?}");
    assert_eq!(coordinator.history().expect("it can be read"), []);
}

#[test]
fn a_lost_alarm_is_set_again_by_whoever_asks() {
    let object = Object::new().with_users(100);
    let coordinator = object.instance(vec![marking("001")]);
    object.migrate(&coordinator).expect("nothing fails");
    object.storage.take_alarm();
    object.pass(&coordinator, Duration::from_mins(1));
    assert!(object.marked() < 100, "nobody asked");

    assert_eq!(object.state(&coordinator, "001"), State::Running);
    object.pass(&coordinator, Duration::from_mins(1));
    assert_eq!(object.marked(), 100);
}

#[test]
fn an_alarm_that_never_comes_does_not_keep_its_caller_for_ever() {
    let object = Object::new();
    let coordinator = object.instance(vec![good("001")]);
    let began = object.time.now();
    let report = object.time.run(coordinator.run_pending(&Caller::default()));
    let time = object.time.now().duration_since(began).expect("time goes on");
    assert_eq!(report.expect("nothing failed").remaining, ids(&["001"]));
    assert!(time <= Duration::from_mins(1), "{time:?}");
}

#[test]
fn an_alarm_too_many_does_nothing() {
    let object = Object::new();
    let coordinator = object.instance(vec![good("001")]);
    object.migrate(&coordinator).expect("it succeeds");
    let before = object.kv.operations();
    object.time.run(coordinator.alarm()).expect("it does no harm");
    assert_eq!(object.kv.operations(), before);
    assert_eq!(object.storage.alarm(), None);
}

/// A marker that says that it failed is none of something to be rolled back.
#[test]
fn what_failed_is_not_called_rolled_back_because_the_first_try_was_cut_off() {
    let object = Object::new();
    let is_down = Arc::new(AtomicBool::new(true));
    let store = object.refusing_markers(&is_down);
    let coordinator = object.instance_on(store, vec![failing("001")]);
    object.migrate(&coordinator).expect_err("it fails");
    // KV does not take the copy of its marker, which is tried again now, so that the step lasts.
    object.time.run(object.time.sleep(Duration::from_mins(1)));
    let caller = Caller::default();
    let rollback = coordinator.rollback("001", &caller);
    let answer = object.serve_for(Duration::from_secs(5), &coordinator, rollback);
    assert!(answer.is_none(), "{answer:?}");

    let next = object.instance(vec![failing("001")]);
    object.pass(&next, Duration::from_mins(1));
    let history = next.history().expect("it can be read");
    assert!(history.iter().all(|entry| entry.outcome == RunOutcome::Failed), "{history:?}");
}

#[test]
fn what_ran_out_of_order_is_told_of_all_steps() {
    let object = Object::new().with_users(100);
    object.migrate(&object.instance(vec![good("003")])).expect("it succeeds");
    let coordinator = object.instance(vec![good("001"), marking("002"), good("003"), good("004")]);
    let report = object.serve(&coordinator, coordinator.run_pending(&Caller::default().until_finished()));
    let report = report.expect("nothing fails");
    assert_eq!((report.ran, report.skipped), (ids(&["001", "002", "004"]), ids(&["003"])));
    assert_eq!(report.out_of_order, ids(&["001", "002"]));
}
