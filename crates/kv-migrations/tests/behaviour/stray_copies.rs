//! Copies that a re-key has made while something else failed or ended: they are known all the same.

use std::ops::Range;

use futures::executor::block_on;
use kv_migrations::testing::{Fault, faulty};
use kv_migrations::{Migration, Rekey};

use crate::rekey::{error, keys, migration, users};
use crate::service::{InitialEntry, Service};

fn rekey_to(prefix: &'static str) -> Rekey {
    Rekey::new("user_", move |key| Some(format!("{prefix}{}", key.name.strip_prefix("user_")?)))
}

fn copies_to(prefix: &'static str) -> Vec<Migration> {
    vec![migration(rekey_to(prefix))]
}

fn with_prefix(service: &Service, prefix: &str) -> Vec<String> {
    keys(service).into_iter().filter(|key| key.starts_with(prefix)).collect()
}

/// Eighteen users: an error names all of their copies.
fn users_with(value: &str) -> Service {
    let entries: Vec<InitialEntry> =
        (10..28).map(|n| InitialEntry::new(format!("user_{n}"), value)).collect();
    Service::holding(&entries, 900)
}

/// One fault at each of some operations.
fn faults(operations: Range<u64>) -> impl Iterator<Item = Fault> {
    operations.flat_map(|at| [Fault::Refused(at), Fault::AnswerLost(at), Fault::temporary(503, at, 4)])
}

#[test]
fn copies_that_are_under_way_when_a_batch_is_full_are_named_once_the_mapping_changes() {
    let entries: Vec<InitialEntry> =
        (0..1_200).map(|n| InitialEntry::new(format!("user_{n:0490}"), "x")).collect();
    let service = Service::holding(&entries, 9_000);
    service.request(&service.runner(copies_to("wrong:"))).unwrap();
    let copies = with_prefix(&service, "wrong:").len();
    assert!((1_000..1_100).contains(&copies), "a MiB of keys: {copies}");
    let error = error(&service, rekey_to("user:"));
    assert!(
        error.contains(&format!("the mapping has changed since {copies} entries were copied")),
        "{error:.200}"
    );
}

#[test]
fn copies_that_are_under_way_when_an_operation_fails_are_named_once_the_mapping_changes() {
    let mut failed = 0;
    for fault in faults(0..70) {
        let service = users_with("x");
        let runner = service.runner_on(faulty(service.store.clone(), fault), copies_to("wrong:"));
        let result = block_on(runner.run_pending(&()));
        let copies = with_prefix(&service, "wrong:");
        if result.is_ok() || copies.is_empty() {
            continue;
        }
        failed += 1;
        let error = error(&service, rekey_to("user:"));
        for copy in &copies {
            assert!(
                error.contains(&format!("copied to `{copy}`")),
                "{fault:?}: {copy} is not named: {error}"
            );
        }
        assert_eq!(with_prefix(&service, "user_").len(), 18, "{fault:?}: nothing is deleted");
    }
    assert!(failed > 20, "the faults have to meet the copying: {failed}");
}

#[test]
fn copies_that_are_made_again_while_an_operation_fails_are_no_collisions() {
    let mut failed = 0;
    for fault in faults(0..100) {
        let service = users_with("first");
        service.request(&service.runner(vec![migration(users())])).unwrap();
        let write = |value: &str| (10..28).for_each(|n| service.store.insert(&format!("user_{n}"), value));
        write("second");
        let runner = service.runner_on(faulty(service.store.clone(), fault), vec![migration(users())]);
        if service.request(&runner).is_ok() {
            continue;
        }
        failed += 1;
        write("third");
        if let Err(error) = service.drive(&service.runner(vec![migration(users())])) {
            panic!("{fault:?}: the copies are its own: {error}");
        }
        assert_eq!(with_prefix(&service, "user").len(), 18, "{fault:?}");
        assert!(
            (10..28).all(|n| service.text(&format!("user:{n}")).as_deref() == Some("third")),
            "{fault:?}"
        );
    }
    assert!(failed > 20, "the faults have to meet the sweep: {failed}");
}

#[test]
fn a_copy_that_a_sweep_has_made_again_proves_nothing_before_the_next_sweep() {
    let mut failed = 0;
    for fault in faults(0..100) {
        let service = users_with("first");
        service.request(&service.runner(vec![migration(users())])).unwrap();
        (10..28).for_each(|n| service.store.insert(&format!("user_{n}"), "second"));
        let runner = service.runner_on(faulty(service.store.clone(), fault), vec![migration(users())]);
        if service.request(&runner).is_ok() {
            continue;
        }
        failed += 1;
        // At once, when KV may still show what was there before.
        drop(block_on(service.runner(vec![migration(users())]).run_pending(&())));
        assert_eq!(with_prefix(&service, "user_").len(), 18, "{fault:?}: an old key is deleted");
        service.drive(&service.runner(vec![migration(users())])).unwrap();
        assert_eq!(with_prefix(&service, "user_").len(), 0, "{fault:?}");
    }
    assert!(failed > 20, "the faults have to meet the sweep: {failed}");
}

#[test]
fn a_missing_copy_that_was_made_before_old_keys_are_deleted_is_named_once_the_mapping_changes() {
    let entries = ["user:1", "user_1", "user_2"].map(|key| InitialEntry::new(key, "x"));
    let service = Service::holding(&entries, 900);
    let runner = service.runner(vec![migration(users().copying_missing())]);
    while service.text("user:2").is_none() {
        service.request(&runner).unwrap();
    }
    let error = error(&service, Rekey::prefix("user_", "other:").copying_missing());
    assert!(error.contains("`user_2` was copied to `user:2` and would now get `other:2`"), "{error}");
    assert_eq!(keys(&service), ["user:1", "user:2", "user_2"], "nothing is copied elsewhere");
}
