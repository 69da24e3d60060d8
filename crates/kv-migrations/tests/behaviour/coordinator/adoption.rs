//! Markers of runs without a coordinator are adopted.

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
fn markers_in_kv_are_adopted_at_the_first_request() {
    let object = Object::new();
    put_marker(&object, "001", "true", Some(RUN_AT));
    put_marker(&object, "002", "true", None);
    put_marker(&object, "003", "false", None);
    put_marker(&object, "004", "false", Some(RUN_AT));
    put_marker(&object, "005", "\u{FEFF}true", None);
    let coordinator = object.instance(["001", "002", "003", "004", "005"].map(good).into());

    assert_eq!(object.state(&coordinator, "001"), State::Applied, "a status takes it over already");
    assert_eq!(object.status(&coordinator, "001").run_at.as_deref(), Some("2025-01-01T00:00:00.000Z"));
    assert_eq!(migrate(&object, &coordinator), ids(&["003", "004", "005"]));
}

#[test]
fn markers_are_adopted_although_visitors_have_created_many_keys_like_them() {
    let object = Object::new();
    put_marker(&object, "001", "true", Some(RUN_AT));
    put_marker(&object, "002", "false", Some(RUN_AT));
    for number in 0..10_001 {
        object.kv.insert(&format!("migration_my-service_visitor_{number}"), "true");
    }
    let coordinator = object.instance(vec![good("001"), good("002")]);
    assert_eq!(object.state(&coordinator, "001"), State::Applied);
    let report = object.migrate(&coordinator).expect("it succeeds");
    assert_eq!(report.ran, ids(&["002"]));
}

/// Every step looks at KV's markers, and those of the TypeScript runner stay there.
#[test]
fn markers_that_the_object_knows_as_applied_are_not_read_from_kv_again() {
    let object = Object::new();
    put_marker(&object, "001", "true", Some(RUN_AT));
    put_marker(&object, "002", "true", None);
    let coordinator = object.instance(vec![good("001"), good("002"), good("003")]);
    migrate(&object, &coordinator);
    let before = object.kv.operations();
    migrate(&object, &coordinator);
    assert_eq!(object.kv.operations() - before, 1, "one list");
}

#[test]
fn a_backfill_without_a_coordinator_is_continued_with_one() {
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
    assert!(object.kv.operations() - spent < 150, "it did not start over");
}

#[test]
fn a_run_of_a_coordinator_is_visible_without_one() {
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
fn a_migration_applied_later_without_the_coordinator_does_not_run_again() {
    let object = Object::new();
    let coordinator = object.instance(vec![good("001"), good("002")]);
    migrate(&object, &object.instance(vec![good("001")]));
    let slow = Slow::new(object.kv.clone(), &object.time, Duration::from_millis(10));
    let runner = object.runner_on(slow, vec![good("001"), good("002")]);
    object.time.run(runner.run_pending(&())).expect("it succeeds");
    assert_eq!(migrate(&object, &coordinator), ids(&[]));
}

/// KV shows a deleted marker for a while: that of the object, or one that the previous release wrote in the same minute.
#[test]
fn a_rolled_back_migration_is_not_adopted_from_older_markers() {
    for is_its_own in [true, false] {
        let object = Object::new();
        let coordinator = object.instance(vec![good("001")]);
        migrate(&object, &coordinator);
        let mut keys = object.kv.entries().into_iter().map(|(key, _)| key);
        let marker = keys.find(|key| key.name.starts_with("migration_")).expect("it is marked");
        let rollback = object.serve(&coordinator, coordinator.rollback("001", &Caller::default()));
        rollback.expect("it has a way back");
        assert_eq!(object.marker("001"), None);
        let own = marker.metadata.expect("it has the time of the run");
        let other = r#"{"runAt":"2026-11-22T10:48:28.000Z"}"#;
        put_marker(&object, "001", "true", Some(if is_its_own { own.as_json() } else { other }));
        assert_eq!(migrate(&object, &coordinator), ids(&["001"]), "is_its_own: {is_its_own}");
    }
}

/// A copy that KV refused is dropped, since KV has a newer marker.
#[test]
fn an_adopted_marker_is_not_copied_back() {
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

#[test]
fn a_rolled_back_migration_is_adopted_from_a_newer_marker() {
    let object = Object::new();
    let coordinator = object.instance(vec![good("001")]);
    migrate(&object, &coordinator);
    object.serve(&coordinator, coordinator.rollback("001", &Caller::default())).expect("it has a way back");
    object.pass(&coordinator, Duration::from_mins(2));
    put_marker(&object, "001", "true", Some(r#"{"runAt":"2026-11-22T10:49:59.000Z"}"#));
    assert_eq!(migrate(&object, &coordinator), ids(&[]));
}
