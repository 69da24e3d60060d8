//! Entries that cannot have their new keys are found before anything is written.

use std::time::Duration;

use futures::executor::block_on;
use kv_migrations::kv::StoreExt;
use kv_migrations::{Collisions, Migration, Rekey};

use crate::rekey::{drive, error, keys, migration, users};
use crate::service::{InitialEntry, Service};
use crate::stores::ShortPages;

/// Maps keys to lower case.
fn lower_case() -> Rekey {
    Rekey::new("user_", |key| {
        let lower = key.name.to_lowercase();
        (lower != key.name).then_some(lower)
    })
}

#[test]
fn two_entries_with_the_same_new_key_fail_before_anything_is_written() {
    let service = Service::holding(
        &[
            InitialEntry::new("user_Ada", "1"),
            InitialEntry::new("user_aDA", "1"),
            InitialEntry::new("user_x", "2"),
        ],
        900,
    );
    assert_eq!(
        error(&service, lower_case()),
        "Migration long failed: 1 of the entries cannot have their new keys: `user_aDA` would get the key `user_ada`, which \
         another entry gets as well. Nothing was written or deleted. Give them keys of their own, or let them stay \
         with `Collisions::Skip`"
    );
    assert_eq!(keys(&service), ["user_Ada", "user_aDA", "user_x"]);

    block_on(service.store.delete("user_aDA")).unwrap();
    drive(&service, lower_case()).expect("once there is room, the next run goes through");
    assert_eq!(keys(&service), ["user_ada", "user_x"]);
}

#[test]
fn a_new_key_that_is_taken_fails_before_anything_is_written() {
    let service = Service::holding(
        &[
            InitialEntry::new("user:1", "another"),
            InitialEntry::new("user_1", "one"),
            InitialEntry::new("user_2", "two"),
        ],
        900,
    );
    let error = error(&service, users());
    assert!(
        error.contains("`user_1` would get the key `user:1`, at which there is something else"),
        "{error}"
    );
    assert_eq!(keys(&service), ["user:1", "user_1", "user_2"]);
}

#[test]
fn a_key_that_the_inverse_does_not_restore_is_a_collision() {
    let service =
        Service::holding(&[InitialEntry::new("user_Ada", "1"), InitialEntry::new("user_eve", "2")], 900);
    let rekey = Rekey::new("user_", |key| Some(key.name.replace("user_", "user:").to_lowercase()))
        .with_inverse("user:", |key| Some(key.name.replace("user:", "user_")));
    let error = error(&service, rekey);
    assert!(
        error.contains("`user_Ada` would get the key `user:ada`, for which the inverse gives `user_ada`"),
        "{error}"
    );
}

#[test]
fn all_collisions_are_counted_and_the_first_are_listed() {
    let entries: Vec<InitialEntry> = (0..60)
        .flat_map(|n| {
            [
                InitialEntry::new(format!("user_{n:02}"), "old"),
                InitialEntry::new(format!("user:{n:02}"), "new"),
            ]
        })
        .collect();
    let service = Service::holding(&entries, 50);
    let error = error(&service, users());
    assert!(
        error.contains("60 of the entries cannot have their new keys") && error.contains("and 40 more"),
        "{error}"
    );
}

#[test]
fn after_a_thousand_collisions_are_removed_the_next_run_succeeds() {
    let entries: Vec<InitialEntry> = (0..1_005)
        .flat_map(|n| {
            [
                InitialEntry::new(format!("user_{n:04}"), "old"),
                InitialEntry::new(format!("user:{n:04}"), "new"),
            ]
        })
        .collect();
    let service = Service::holding(&entries, 100_000);
    let migration = || Migration::rekey("long", "", Rekey::prefix("user_", "user:"));
    let runner = service.runner_on(service.store.clone(), vec![migration()]);
    service.drive(&runner).unwrap_err();
    for n in 0..1_005 {
        block_on(service.store.delete(&format!("user:{n:04}"))).unwrap();
    }
    service.clock.advance(Duration::from_hours(1));
    let mut last = String::new();
    for _ in 0..5 {
        match service.drive(&runner) {
            Ok(_) => return,
            Err(error) => last = error.to_string(),
        }
    }
    panic!("still: {last}");
}

#[test]
fn a_corrected_mapping_ignores_the_keys_of_the_one_before() {
    let entries = [InitialEntry::new("user_a", "1"), InitialEntry::new("user_b", "2")];
    let service = Service::holding(&entries, 900);
    let wrong = Rekey::new("user_", |key| {
        Some(if key.name == "user_a" { "new:1".to_owned() } else { "k".repeat(600) })
    })
    .with_collisions(Collisions::Skip);
    // With a page for each key, what was surveyed before the failing key is kept.
    let pages = || ShortPages(service.store.clone(), 1);
    let runner = service.runner_on(pages(), vec![Migration::rekey("long", "", wrong)]);
    service.drive(&runner).unwrap_err();
    let right =
        Rekey::new("user_", |key| Some(if key.name == "user_a" { "new:2" } else { "new:1" }.to_owned()))
            .with_collisions(Collisions::Skip);
    let runner = service.runner_on(pages(), vec![Migration::rekey("long", "", right)]);
    let reports = service.drive(&runner).unwrap();
    let keys: Vec<String> = service.store.entries().into_iter().map(|(key, _)| key.name).collect();
    assert_eq!(
        keys,
        ["migration_my-service_long", "new:1", "new:2"],
        "{:?}",
        reports.last().unwrap().details[0].failed_entries
    );
}

#[test]
fn with_collisions_skip_colliding_entries_stay_and_are_reported() {
    let service = Service::holding(
        &[
            InitialEntry::new("user:1", "another"),
            InitialEntry::new("user_1", "one"),
            InitialEntry::new("user_2", "two"),
            InitialEntry::new("user_3", "three"),
        ],
        900,
    );
    let rekey = users().with_collisions(Collisions::Skip);
    let reports = service.drive(&service.runner_on(service.store.clone(), vec![migration(rekey)])).unwrap();
    assert_eq!(keys(&service), ["user:1", "user:2", "user:3", "user_1"]);
    assert_eq!(service.store.value("user:1").unwrap(), b"another");
    let failed = &reports.last().unwrap().details[0].failed_entries;
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].key, "user_1");
    assert_eq!(failed[0].reason, "was left: it would get the key `user:1`, at which there is something else");
}

#[test]
fn an_impossible_new_key_fails_before_anything_is_written() {
    let long = format!("user_{}", "k".repeat(505));
    let service = Service::holding(&[InitialEntry::new("user_1", "x"), InitialEntry::new(&long, "y")], 900);
    let error = error(&service, Rekey::prefix("user_", "customer:"));
    assert!(error.contains("514 bytes, which KV does not take"), "{error}");
    assert_eq!(keys(&service).len(), 2);
}

#[test]
fn a_mapping_that_would_move_its_own_results_fails() {
    let service = Service::holding(&[InitialEntry::new("user_1", "x")], 900);
    let error = error(&service, Rekey::new("user_", |key| Some(key.name.replacen("user_", "user_v2_", 1))));
    assert!(error.contains("`user_v2_1`, which would then get the key `user_v2_v2_1`"), "{error}");
}
