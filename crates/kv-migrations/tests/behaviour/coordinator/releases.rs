//! A run whose steps are taken by another release than the one that was asked for it: during a deploy, after one, or after
//! one that was taken back.

use std::pin::pin;
use std::time::Duration;

use futures::future::select;
use kv_migrations::State;
use kv_migrations::clock::Clock;
use kv_migrations::coordinator::{Caller, Coordinator, CoordinatorError, HistoryEntry, RunOutcome};

use crate::object::{Object, marking};
use crate::service::{good, quiet};

fn last_run(coordinator: &Coordinator) -> HistoryEntry {
    coordinator.history().expect("it can be read").remove(0)
}

#[test]
fn a_run_that_an_older_release_continues_is_not_finished_without_the_newer_migrations() {
    let object = Object::new().with_users(100);
    let newer = object.instance(vec![marking("001"), good("002")]);
    object.migrate(&newer).expect("nothing fails");

    let older = object.instance(vec![marking("001")]);
    object.pass(&older, Duration::from_secs(20));
    assert_eq!(object.state(&older, "001"), State::Applied, "it applies what it registers");
    let run = last_run(&older);
    assert_eq!(run.outcome, RunOutcome::Running, "002 is not applied: {run:?}");
    assert!(run.failures[0].error.contains("asked for with `002`"), "{run:?}");

    let newer = object.instance(vec![marking("001"), good("002")]);
    object.pass(&newer, Duration::from_mins(10));
    assert_eq!(object.state(&newer, "002"), State::Applied, "and nobody had to ask");
    assert_eq!(last_run(&newer).outcome, RunOutcome::Finished);
}

#[test]
fn a_run_whose_release_does_not_come_back_ends_unfinished_and_holds_up_nobody() {
    let object = Object::new().with_users(100);
    let newer = object.instance(vec![marking("001"), good("002")]);
    object.migrate(&newer).expect("nothing fails");

    let older = object.instance(vec![marking("001")]);
    object.pass(&older, Duration::from_secs(20));
    let report = object.migrate(&older).expect("a caller of the older release is not held up");
    assert_eq!((report.ran.len(), report.skipped.len()), (0, 1));
    assert_eq!(last_run(&older).outcome, RunOutcome::Unfinished, "the run that was asked for more");

    let object = Object::new().with_users(100);
    object.migrate(&object.instance(vec![marking("001"), good("002")])).expect("nothing fails");
    let older = object.instance(vec![marking("001")]);
    object.pass(&older, Duration::from_hours(1));
    assert_eq!(last_run(&older).outcome, RunOutcome::Unfinished);
}

/// The object was replaced before it took the first step.
#[test]
fn a_run_that_an_older_release_begins_is_not_finished_without_the_newer_migrations() {
    let object = Object::new();
    let newer = object.instance(vec![good("001"), good("002")]);
    let (caller, a_moment) = (Caller::default(), object.time.sleep(Duration::from_millis(20)));
    object.time.run(select(pin!(newer.run_pending(&caller)), a_moment));
    let older = object.instance(vec![good("001")]);
    object.pass(&older, Duration::from_secs(1));
    assert_eq!(last_run(&older).outcome, RunOutcome::Running);
    let newer = object.instance(vec![good("001"), good("002")]);
    object.pass(&newer, Duration::from_secs(10));
    assert_eq!(last_run(&newer).outcome, RunOutcome::Finished);
    assert_eq!(object.state(&newer, "002"), State::Applied);
}

#[test]
fn who_waits_for_a_run_of_thousands_of_migrations_is_told_the_first_ones_that_are_not_registered() {
    let object = Object::new();
    let number = 3_000;
    let newer = object.instance((0..number).map(|number| quiet(format!("{number:0400}"))).collect());
    let (caller, a_moment) = (Caller::default(), object.time.sleep(Duration::from_millis(20)));
    object.time.run(select(pin!(newer.run_pending(&caller)), a_moment));
    let older = object.instance(vec![good("001")]);
    let waits = Caller::default().queued();
    let error =
        object.serve(&older, older.run_pending(&waits)).expect_err("it does not end with this release");
    assert!(matches!(error, CoordinatorError::AnotherRelease { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.len() < 2_000 && text.contains(" more, which this release does not register"), "{text}");
}

/// Half of its entries are changed: it must not look as if it were done.
#[test]
fn a_run_at_a_migration_that_was_removed_is_not_finished() {
    let object = Object::new().with_users(100);
    object.migrate(&object.instance(vec![good("001"), marking("002")])).expect("nothing fails");
    let without = object.instance(vec![good("001")]);
    object.pass(&without, Duration::from_hours(1));
    let run = last_run(&without);
    assert_eq!((run.outcome, run.migration.as_deref()), (RunOutcome::Unfinished, Some("002")));
    assert!((1..100).contains(&object.marked()));
}

#[test]
fn a_newer_release_continues_a_run_and_applies_what_it_registers() {
    let object = Object::new().with_users(100);
    object.migrate(&object.instance(vec![marking("001")])).expect("nothing fails");
    let newer = object.instance(vec![marking("001"), good("002")]);
    object.pass(&newer, Duration::from_mins(1));
    let run = last_run(&newer);
    assert_eq!((run.outcome, run.ran), (RunOutcome::Finished, vec!["001".to_owned(), "002".to_owned()]));
}

#[test]
fn a_migration_that_is_applied_may_be_removed_during_a_run() {
    let object = Object::new().with_users(100);
    object.migrate(&object.instance(vec![good("001"), marking("002")])).expect("nothing fails");
    let without = object.instance(vec![marking("002")]);
    object.pass(&without, Duration::from_mins(1));
    assert_eq!(last_run(&without).outcome, RunOutcome::Finished);
}
