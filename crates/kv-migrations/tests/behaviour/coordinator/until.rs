//! Runs that go only so far, by an object.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kv_migrations::clock::Clock;
use kv_migrations::coordinator::{Caller, Coordinator, CoordinatorError, RunOutcome};
use kv_migrations::{Backfill, Budget, Error, Migration, RunReport, State, Until};

use crate::object::{Object, marking};
use crate::service::{good, ids};

fn run(object: &Object, coordinator: &Coordinator, until: &Until) -> Result<RunReport, CoordinatorError> {
    object.serve(coordinator, coordinator.run_pending_until(until, &Caller::default()))
}

fn to(id: &str) -> Until {
    Until::Migration(id.to_owned())
}

#[test]
fn alarms_continue_a_run_only_as_far_as_it_was_asked_for() {
    let object = Object::new().with_users(100);
    let coordinator = object.instance(vec![marking("001"), good("002"), good("003")]);
    let first = run(&object, &coordinator, &Until::Steps(2)).unwrap();
    assert_eq!((first.remaining, first.beyond), (ids(&["001", "002"]), ids(&["003"])));
    assert_eq!(first.to.as_deref(), Some("002"));
    object.pass(&coordinator, Duration::from_mins(5));
    assert_eq!(
        (object.state(&coordinator, "002"), object.state(&coordinator, "003")),
        (State::Applied, State::Pending)
    );
    let history = coordinator.history().unwrap();
    assert_eq!((history[0].outcome, history[0].to.as_deref()), (RunOutcome::Finished, Some("002")));
    assert_eq!(history[0].ran, ids(&["001", "002"]));
}

#[test]
fn a_migration_that_is_not_registered_begins_no_run() {
    let object = Object::new();
    let coordinator = object.instance(vec![good("001")]);
    let error = run(&object, &coordinator, &to("002")).expect_err("nothing tells where that is");
    assert!(
        matches!(&error, CoordinatorError::Runner(Error::UnknownMigration { id, .. }) if id == "002"),
        "{error}"
    );
    assert!(coordinator.history().unwrap().is_empty());
}

/// What a run was not asked for, another release need not have.
#[test]
fn a_release_before_ends_a_run_to_a_migration_that_both_have() {
    let object = Object::new().with_users(100);
    let new = object.instance(vec![marking("001"), good("002")]);
    run(&object, &new, &to("001")).unwrap();
    let old = object.instance(vec![marking("001")]);
    object.pass(&old, Duration::from_mins(5));
    let history = old.history().unwrap();
    assert_eq!((history[0].outcome, history[0].failed_attempts), (RunOutcome::Finished, 0));
}

#[test]
fn who_waits_for_a_run_of_everything_does_not_share_one_that_stops_before() {
    let object = Object::new().with_users(100);
    let coordinator = object.instance(vec![marking("001"), good("002")]);
    let queued = Caller::default().queued();
    let until = to("001");
    let (short, whole) = object.serve(&coordinator, async {
        futures::join!(coordinator.run_pending_until(&until, &queued), coordinator.run_pending(&queued))
    });
    assert_eq!(short.unwrap().ran, ids(&["001"]));
    assert_eq!(whole.unwrap().ran, ids(&["002"]));
    let history = coordinator.history().unwrap();
    assert_eq!(history.len(), 2, "each run is its own: {history:?}");
    assert!(history.iter().all(|entry| entry.joined == 0), "{history:?}");
}

#[test]
fn a_run_of_a_few_entries_is_over_after_its_step() {
    let object = Object::new().with_users(100);
    let coordinator = object.instance(vec![marking("001"), good("002")]);
    let report = run(&object, &coordinator, &Until::Entries(5)).unwrap();
    assert_eq!((report.entries.unwrap().changed, object.marked()), (5, 5));
    assert_eq!((report.remaining, report.beyond), (ids(&[]), ids(&["001", "002"])));
    object.pass(&coordinator, Duration::from_mins(5));
    assert_eq!(object.marked(), 5, "no alarm goes on");
    let history = coordinator.history().unwrap();
    assert_eq!((history[0].outcome, history[0].entries), (RunOutcome::Finished, Some(5)));
    let report = object.migrate(&coordinator).expect("it carries on");
    assert_eq!(report.beyond, ids(&[]));
    object.pass(&coordinator, Duration::from_mins(5));
    assert_eq!(object.marked(), 100);
}

#[test]
fn a_run_of_a_few_entries_whose_end_is_not_known_in_time_is_not_to_be_carried_on() {
    let object = Object { budget: Budget::default(), ..Object::new() }.with_users(10);
    let time = object.time.clone();
    let slow = Backfill::new("user_", async move |_, _, ()| {
        time.sleep(Duration::from_mins(2)).await;
        Ok(())
    });
    let coordinator = object.instance(vec![Migration::backfill("001", "", slow), good("002")]);
    let report = run(&object, &coordinator, &Until::Entries(1)).expect("it has not failed");
    assert_eq!((report.remaining, report.beyond), (ids(&[]), ids(&["001", "002"])));
    assert_eq!(report.entries, None, "nobody knows yet");
}

/// Taken again, the step would change as many entries once more.
#[test]
fn a_run_of_a_few_entries_that_is_cut_off_has_failed() {
    let object = Object { budget: Budget::default(), ..Object::new() }.with_users(100);
    let begun = Arc::new(AtomicU64::new(0));
    let counted = begun.clone();
    let slow = Backfill::new("user_", async move |_, record, ()| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(record.put("x+").await?)
    });
    let coordinator = object.instance(vec![Migration::backfill("001", "", slow)]);
    let cut_off = object.serve_for(
        Duration::from_millis(100),
        &coordinator,
        coordinator.run_pending_until(&Until::Entries(50), &Caller::default()),
    );
    assert!(cut_off.is_none(), "the instance is gone amid the step");
    let so_far = begun.load(Ordering::Relaxed);
    assert!((1..50).contains(&so_far), "{so_far}");
    let next = object.instance(vec![marking("001")]);
    object.pass(&next, Duration::from_mins(20));
    assert!(object.marked() < 50, "{}", object.marked());
    let history = next.history().unwrap();
    assert_eq!(history[0].outcome, RunOutcome::Failed);
    assert!(
        history[0].failures[0].error.contains("cut off at migration 001 and is not retried"),
        "{history:?}"
    );
    assert_eq!(object.state(&next, "001"), State::Failed);
    object.migrate(&next).expect("it resumes");
}
