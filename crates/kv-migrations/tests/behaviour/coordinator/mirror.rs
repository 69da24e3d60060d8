//! The copies of the markers in KV.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kv_migrations::State;
use kv_migrations::clock::Clock;
use kv_migrations::coordinator::Caller;

use crate::object::{Object, marking};
use crate::service::{good, quiet};

#[test]
fn a_copied_marker_is_as_the_typescript_runner_writes_it() {
    let object = Object::new();
    let coordinator = object.instance(vec![good("001")]);
    object.migrate(&coordinator).expect("it succeeds");
    assert_eq!(object.marker("001").as_deref(), Some("true"));
    let entries = object.kv.entries().into_iter();
    let marker = entries.map(|(key, _)| key).find(|key| key.name == "migration_my-service_001").unwrap();
    let metadata: serde_json::Value = serde_json::from_str(marker.metadata.unwrap().as_json()).unwrap();
    assert!(metadata["runAt"].is_string(), "{metadata}");
}

#[test]
fn a_refused_copy_is_retried_and_the_run_succeeds() {
    let (object, is_down) = (Object::new(), Arc::new(AtomicBool::new(true)));
    let coordinator = object.instance_on(object.refusing_markers(&is_down), vec![good("001")]);
    let report = object.migrate(&coordinator).expect("the object knows that it is applied");
    assert_eq!(report.ran, ["001"]);
    assert_eq!(object.state(&coordinator, "001"), State::Applied);
    assert_eq!(object.marker("001"), None);
    assert!(
        object.log.lines().iter().any(|line| line.contains("could not be copied")),
        "{:?}",
        object.log.lines()
    );

    is_down.store(false, Ordering::Relaxed);
    object.pass(&coordinator, Duration::from_mins(2));
    assert_eq!(object.marker("001").as_deref(), Some("true"));
    assert_eq!(object.storage.alarm(), None);
}

#[test]
fn a_lost_alarm_for_a_copy_is_set_again_by_the_next_request() {
    let (object, is_down) = (Object::new(), Arc::new(AtomicBool::new(true)));
    let coordinator = object.instance_on(object.refusing_markers(&is_down), vec![good("001")]);
    object.migrate(&coordinator).expect("the object knows that it is applied");
    is_down.store(false, Ordering::Relaxed);
    object.storage.take_alarm();
    object.pass(&coordinator, Duration::from_mins(2));
    assert_eq!(object.marker("001"), None, "nobody asked");

    // Frequent requests do not delay the copy.
    for _ in 0..10 {
        object.state(&coordinator, "001");
        object.pass(&coordinator, Duration::from_secs(5));
    }
    assert_eq!(object.marker("001").as_deref(), Some("true"));
}

/// At Cloudflare, an invocation may make 1,000 operations.
#[test]
fn an_alarm_makes_as_many_copies_as_its_budget_allows() {
    let (object, is_down) = (Object::new(), Arc::new(AtomicBool::new(true)));
    let store = object.refusing_markers(&is_down);
    let migrations = (0..100).map(|number| quiet(format!("{number:03}"))).collect();
    let coordinator = object.instance_on(store, migrations);
    let caller = Caller::default().until_finished();
    object.serve(&coordinator, coordinator.run_pending(&caller)).expect("the object knows them");
    is_down.store(false, Ordering::Relaxed);

    // The copies are retried by then.
    object.time.run(object.time.sleep(Duration::from_hours(1)));
    let before = object.kv.operations();
    object.storage.take_alarm();
    object.time.run(coordinator.alarm()).expect("memory does not fail");
    assert_eq!(object.kv.operations() - before, 20);
    object.pass(&coordinator, Duration::from_secs(10));
    assert_eq!(object.kv.operations() - before, 100, "the others follow at once");
    assert_eq!(object.storage.alarm(), None);
}

/// While KV refuses writes, each attempt takes 15 seconds.
#[test]
fn a_run_does_not_wait_for_copies_that_kv_refuses() {
    let object = Object::new().with_users(100);
    let is_down = Arc::new(AtomicBool::new(true));
    let coordinator = object.instance_on(object.refusing_markers(&is_down), vec![marking("001")]);
    object.migrate(&coordinator).expect("the object knows how far it is");
    object.pass(&coordinator, Duration::from_secs(20));
    assert_eq!(object.state(&coordinator, "001"), State::Applied, "of all steps only the first tried");
}
