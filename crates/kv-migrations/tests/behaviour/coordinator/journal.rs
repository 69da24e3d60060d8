//! What can be observed of an object's rows while they are written.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::executor::block_on;
use kv_migrations::Migration;
use kv_migrations::coordinator::{Caller, Coordinator, JournalEvent};
use kv_migrations::kv::{Metadata, PutOptions, StoreExt};

use crate::object::{Object, marking};
use crate::service::good;

/// An instance, and what is observed of it: `run 1 starts 001`, `run 1: 001 is applied`.
fn observed(object: &Object, migrations: Vec<Migration>) -> (Coordinator, Arc<Mutex<Vec<String>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let (written, storage) = (lines.clone(), object.storage.clone());
    let observer = move |event: &JournalEvent| {
        let line = match event {
            JournalEvent::Started { task, id, .. } => format!("run {task} starts {id}"),
            JournalEvent::MarkerWritten { key, is_applied, task, .. } => {
                let id = key.strip_prefix("migration_my-service_").expect("it is the service's");
                let row = format!("{storage:?}");
                assert!(row.contains(&format!("marker/{key}")), "it is written before it is told: {row}");
                let by = task.map_or_else(|| "adopted".to_owned(), |task| format!("run {task}"));
                format!("{by}: {id} is {}applied", if *is_applied { "" } else { "not " })
            }
            _ => unreachable!("there are no others: {event:?}"),
        };
        let mut written = written.lock().unwrap();
        if written.last() != Some(&line) {
            written.push(line);
        }
    };
    (object.instance(migrations).with_journal_observer(observer), lines)
}

#[test]
fn each_step_and_each_marker_is_told_with_the_run_that_it_belongs_to() {
    let object = Object::new().with_users(30);
    let (coordinator, lines) = observed(&object, vec![good("001"), marking("002")]);
    let caller = Caller::default().until_finished();
    object.serve(&coordinator, coordinator.run_pending(&caller)).expect("nothing fails");
    let events = std::mem::take(&mut *lines.lock().unwrap());
    assert_eq!(events[..2], ["run 1 starts 001", "run 1: 001 is applied"]);
    assert_eq!(events[2..4], ["run 1 starts 002", "run 1: 002 is not applied"]);
    assert_eq!(events[4], "run 1 starts 002", "it is resumed: {events:?}");
    assert_eq!(events.last().unwrap(), "run 1: 002 is applied");

    object.serve(&coordinator, coordinator.rollback("001", &caller)).expect("it has a way back");
    assert_eq!(*lines.lock().unwrap(), ["run 2: 001 is not applied"]);
}

#[test]
fn a_marker_that_is_adopted_belongs_to_no_run() {
    let object = Object::new();
    let metadata = Metadata::from_json(r#"{"runAt":"2025-01-01T00:00:00.000Z"}"#);
    let options = PutOptions::new().with_metadata(metadata);
    block_on(object.kv.put("migration_my-service_001", b"true", &options)).expect("KV takes it");
    let (coordinator, lines) = observed(&object, vec![good("001"), good("002")]);
    object.serve(&coordinator, coordinator.status()).expect("it can be read");
    assert_eq!(*lines.lock().unwrap(), ["adopted: 001 is applied"]);
}

#[test]
fn a_checkpoint_that_is_forgotten_is_told() {
    let object = Object::new().with_users(100);
    let (coordinator, lines) = observed(&object, vec![marking("001")]);
    object.migrate(&coordinator).expect("nothing fails");
    object.serve(&coordinator, coordinator.pause("001", &Caller::default())).expect("it is under way");
    object.pass(&coordinator, Duration::from_mins(1));
    lines.lock().unwrap().clear();
    object.serve(&coordinator, coordinator.cancel("001", &Caller::default())).expect("it is paused");
    assert_eq!(*lines.lock().unwrap(), ["run 1: 001 is not applied"]);
}
