//! What an object keeps from one release to the next.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use kv_migrations::clock::Clock;
use kv_migrations::coordinator::{Caller, MemoryStorage, RowChange, Storage};

use crate::object::{Object, marking};
use crate::service::good;

/// An object in the middle of a run, with a history, whose markers KV rejects.
fn under_way(object: &Object) -> Vec<(String, Vec<u8>)> {
    let store = || object.refusing_markers(&Arc::new(AtomicBool::new(true)));
    let first = object.instance_on(store(), vec![good("001")]);
    object.migrate(&first).expect("it succeeds");
    let second = object.instance_on(store(), vec![good("001"), good("002"), marking("003")]);
    object.migrate(&second).expect("nothing fails");
    object.storage.list("").expect("memory does not fail")
}

/// The values of markers are kept as they are: checkpoints have a version of their own. What is still to be copied is said
/// by the name of a row alone.
fn is_read_as_json(name: &str) -> bool {
    !name.starts_with("value/") && !name.starts_with("unmirrored/")
}

#[test]
fn every_row_of_json_has_a_version() {
    let rows = under_way(&Object::new().with_users(100));
    for (name, bytes) in rows.iter().filter(|(name, _)| is_read_as_json(name)) {
        assert!(bytes.starts_with(b"[1,"), "{name}: {}", String::from_utf8_lossy(bytes));
    }
    let names: Vec<&str> = rows.iter().map(|(name, _)| name.split_inclusive('/').next().unwrap()).collect();
    let kinds = [
        "adopted",
        "applied/",
        "asked",
        "history/",
        "lease",
        "marker/",
        "mirror",
        "number",
        "task",
        "unmirrored/",
        "value/",
    ];
    assert!(kinds.iter().all(|kind| names.contains(kind)), "{names:?}");
}

/// As after a deploy of an older release.
#[test]
fn a_row_of_another_version_is_named_and_left_as_it_is() {
    let object = Object::new().with_users(100);
    let rows = under_way(&object);
    for (name, bytes) in rows.iter().filter(|(name, _)| is_read_as_json(name)) {
        let storage = MemoryStorage::new();
        let of_next_release: Vec<u8> = [b"[2,", &bytes[b"[1,".len()..]].concat();
        // The number of a run, and what was asked for, are read when the next one begins.
        let begins = ["number", "asked"].contains(&name.as_str());
        let others = rows.iter().filter(|(other, _)| !begins || other != "task");
        let changes = others.map(|(other, bytes)| {
            let bytes = if other == name { &of_next_release } else { bytes };
            RowChange::put(other, bytes.as_slice())
        });
        storage.write(&changes.collect::<Vec<_>>()).expect("memory does not fail");
        let object = object.with_storage(object.time.clone(), storage.clone());
        let coordinator = object.instance(vec![good("001"), good("002"), marking("003")]);

        let all = async {
            object.time.sleep(Duration::from_hours(1)).await;
            coordinator.history()?;
            coordinator.status().await?;
            coordinator.alarm().await?;
            coordinator.run_pending(&Caller::default()).await
        };
        let error = object.time.run(all).expect_err("one of them reads the row").to_string();
        let expected =
            format!("the row `{name}` of the coordinator has version 2, and this release reads version 1");
        assert!(error.contains(&expected), "{name}: {error}");
        assert_eq!(storage.get(name), Ok(Some(of_next_release)), "{name}");
    }
}
