//! Taking over what ran without a coordinator, and giving it back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::executor::block_on;
use kv_migrations::State;
use kv_migrations::coordinator::{Caller, Coordinator};
use kv_migrations::kv::{Metadata, PutOptions, StoreExt};

use crate::object::{Object, marking};
use crate::service::{failing, good, ids};
use crate::stores::Slow;

const RUN_AT: &str = r#"{"runAt":"2025-01-01T00:00:00.000Z"}"#;

fn put_marker(object: &Object, id: &str, value: &str, metadata: Option<&str>) {
    let options = PutOptions::new().with_metadata(metadata.map(Metadata::from_json));
    block_on(object.kv.put(&format!("migration_my-service_{id}"), value.as_bytes(), &options))
        .expect("KV takes it");
}

fn migrate(object: &Object, coordinator: &Coordinator) -> Vec<String> {
    let report = object.serve(coordinator, coordinator.run_pending(&Caller::default().queued()));
    report.expect("nothing fails").ran
}

#[test]
fn what_ran_before_does_not_run_again() {
    let object = Object::new();
    put_marker(&object, "001", "true", Some(RUN_AT));
    put_marker(&object, "002", "true", None);
    put_marker(&object, "003", "false", None);
    let coordinator = object.instance(vec![good("001"), good("002"), good("003")]);

    assert_eq!(object.state(&coordinator, "001"), State::Applied, "a status takes it over already");
    assert_eq!(object.status(&coordinator, "001").run_at.as_deref(), Some("2025-01-01T00:00:00.000Z"));
    assert_eq!(migrate(&object, &coordinator), ids(&["003"]));
}

#[test]
fn a_backfill_is_carried_on_where_it_was() {
    let object = Object::new().with_users(100);
    let runner = object.runner_on(object.kv.clone(), vec![marking("001")]);
    object.time.run(runner.run_pending(&())).expect("nothing fails");
    let before = object.marked();
    assert!((1..100).contains(&before));

    let coordinator = object.instance(vec![marking("001")]);
    let progress = object.status(&coordinator, "001").progress.expect("it is under way");
    assert_eq!(usize::try_from(progress.done).unwrap(), before);
    let spent = object.kv.operations();
    assert_eq!(migrate(&object, &coordinator), ids(&["001"]));
    assert_eq!(object.marked(), 100);
    assert!(object.kv.operations() - spent < 150, "it did not begin anew");
}

#[test]
fn the_runner_without_a_coordinator_carries_on_in_turn() {
    let object = Object::new().with_users(100);
    let coordinator = object.instance(vec![good("001"), marking("002")]);
    object.serve(&coordinator, coordinator.run_pending(&Caller::default())).expect("nothing fails");
    let before = object.marked();
    assert!((1..100).contains(&before), "{before}");

    let runner = object.runner_on(object.kv.clone(), vec![good("001"), marking("002")]);
    let status = object.time.run(runner.status()).expect("it can be read");
    assert_eq!((status[0].state, status[1].state), (State::Applied, State::Running));
    let done = status[1].progress.as_ref().expect("its checkpoint is there").done;
    assert_eq!(usize::try_from(done).unwrap(), before);
}

#[test]
fn what_is_applied_meanwhile_without_the_coordinator_does_not_run_again() {
    let object = Object::new();
    let coordinator = object.instance(vec![good("001"), good("002")]);
    migrate(&object, &object.instance(vec![good("001")]));
    let slow =
        Slow { store: object.kv.clone(), time: object.time.clone(), latency: Duration::from_millis(10) };
    let runner = object.runner_on(slow, vec![good("001"), good("002")]);
    object.time.run(runner.run_pending(&())).expect("it succeeds");
    assert_eq!(migrate(&object, &coordinator), ids(&[]));
}

/// KV shows for a while what was deleted.
#[test]
fn what_was_rolled_back_is_not_taken_over_again() {
    let object = Object::new();
    let coordinator = object.instance(vec![good("001")]);
    migrate(&object, &coordinator);
    let stale = object
        .kv
        .entries()
        .into_iter()
        .find(|(key, _)| key.name.starts_with("migration_"))
        .expect("it is marked");
    object.serve(&coordinator, coordinator.rollback("001", &Caller::default())).expect("it has a way back");
    assert_eq!(object.marker("001"), None);
    let metadata = stale.0.metadata.expect("it tells when");
    put_marker(&object, "001", "true", Some(metadata.as_json()));
    assert_eq!(migrate(&object, &coordinator), ids(&["001"]));
}

/// What was to be copied before is no more to be copied then: KV has something newer.
#[test]
fn what_is_taken_over_is_not_copied_back_for_ever() {
    let (object, is_down) = (Object::new(), Arc::new(AtomicBool::new(true)));
    let coordinator = object.instance_on(object.refusing_markers(&is_down), vec![failing("001")]);
    object.migrate(&coordinator).expect_err("it fails, and KV does not hear of it");
    put_marker(&object, "001", "true", Some(RUN_AT));
    is_down.store(false, Ordering::Relaxed);

    let next = object.instance(vec![good("001")]);
    assert_eq!(migrate(&object, &next), ids(&[]), "it was applied without the coordinator");
    object.pass(&next, Duration::from_mins(2));
    assert_eq!(object.storage.alarm(), None, "nothing is left to be copied");
}

/// The release before ran it in the same minute, and wrote a marker of its own.
#[test]
fn what_was_rolled_back_is_not_taken_over_again_by_another_marker_of_before() {
    let object = Object::new();
    let coordinator = object.instance(vec![good("001")]);
    migrate(&object, &coordinator);
    let other = r#"{"runAt":"2026-11-22T10:48:28.000Z"}"#;
    object.serve(&coordinator, coordinator.rollback("001", &Caller::default())).expect("it has a way back");
    put_marker(&object, "001", "true", Some(other));
    assert_eq!(migrate(&object, &coordinator), ids(&["001"]));
}

#[test]
fn what_was_rolled_back_and_then_applied_without_the_coordinator_does_not_run_again() {
    let object = Object::new();
    let coordinator = object.instance(vec![good("001")]);
    migrate(&object, &coordinator);
    object.serve(&coordinator, coordinator.rollback("001", &Caller::default())).expect("it has a way back");
    object.pass(&coordinator, Duration::from_mins(2));
    put_marker(&object, "001", "true", Some(r#"{"runAt":"2026-11-22T10:49:59.000Z"}"#));
    assert_eq!(migrate(&object, &coordinator), ids(&[]));
}
