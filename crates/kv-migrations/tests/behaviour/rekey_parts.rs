//! A re-key in two migrations: one copies, a later one deletes. What each does, and its rollback.

use std::time::Duration;

use futures::executor::block_on;
use kv_migrations::kv::{Expiration, Metadata, PutOptions, StoreExt};
use kv_migrations::testing::{DelayedKv, Fault, faulty};
use kv_migrations::{Collisions, Rekey, RunReport};

use crate::rekey::{drive, error, keys, migration, users};
use crate::service::{InitialEntry, Service};

/// Drives to the end, and returns the keys of the entries that were left, with the reasons.
fn left(service: &Service, rekey: Rekey) -> Vec<(String, String)> {
    let reports = service.drive(&service.runner(vec![migration(rekey)])).unwrap();
    let failed =
        reports.into_iter().flat_map(|report: RunReport| report.details).flat_map(|it| it.failed_entries);
    failed.map(|entry| (entry.key, entry.reason)).collect()
}

fn pairs(entries: &[(&str, &str)]) -> Service {
    let entries: Vec<InitialEntry> =
        entries.iter().map(|(key, value)| InitialEntry::new(*key, *value)).collect();
    Service::holding(&entries, 900)
}

#[test]
fn copying_keeps_the_old_keys_and_copies_all_that_an_entry_has() {
    let service = Service::new();
    let options = PutOptions::new()
        .with_metadata(Some(Metadata::from_json(r#"{"a":1}"#)))
        .with_expiration(Some(Expiration::After(100_000)));
    block_on(service.store.put("user_1", b"Ada", &options)).unwrap();
    drive(&service, users().copying()).unwrap();
    let entries = service.store.entries();
    let entry = |name: &str| entries.iter().find(|(key, _)| key.name == name).unwrap();
    let (new, old) = (entry("user:1"), entry("user_1"));
    assert_eq!((&new.1, &new.0.metadata, new.0.expiration), (&old.1, &old.0.metadata, old.0.expiration));
    assert_eq!(keys(&service), ["user:1", "user_1"]);
}

#[test]
fn copying_is_applied_only_when_kv_shows_the_copies_everywhere() {
    let service = pairs(&[("user_1", "Ada")]);
    let runner = service.runner(vec![migration(users().copying())]);
    let mut waited = 0;
    loop {
        let report = block_on(runner.run_pending(&())).unwrap();
        if report.is_finished() {
            break;
        }
        waited += report.retry_after.unwrap().as_secs();
        service.clock.advance(report.retry_after.unwrap());
    }
    assert!(waited >= 180, "it looks at the copies, and for entries without one: {waited} s");
}

#[test]
fn copying_copies_again_what_was_written_under_the_old_key_alone() {
    let service = pairs(&[("user_1", "before"), ("user_2", "same")]);
    let runner = service.runner(vec![migration(users().copying())]);
    service.request(&runner).unwrap();
    service.store.insert("user_1", "after");
    service.store.insert("user_3", "new");
    service.drive(&runner).unwrap();
    for (key, value) in [("user:1", "after"), ("user:2", "same"), ("user:3", "new")] {
        assert_eq!(service.text(key).as_deref(), Some(value), "{key}");
    }
}

#[test]
fn copying_copies_again_an_entry_that_expires_later_than_its_copy() {
    let entry = InitialEntry { ttl: Some(300), ..InitialEntry::new("user_1", "session") };
    let service = Service::holding(&[entry], 900);
    let runner = service.runner(vec![migration(users().copying())]);
    service.request(&runner).unwrap();
    let options = PutOptions::new().with_expiration(Some(Expiration::After(100_000)));
    block_on(service.store.put("user_1", b"session", &options)).unwrap();
    service.drive(&runner).unwrap();
    service.clock.advance(Duration::from_secs(50_000));
    assert_eq!(keys(&service), ["user:1", "user_1"], "the copy must not expire before its time");
}

#[test]
fn copying_leaves_alone_what_the_service_writes_under_new_keys() {
    let service = pairs(&[("user_1", "before"), ("user_2", "before")]);
    let runner = service.runner(vec![migration(users().copying())]);
    service.request(&runner).unwrap();
    for key in ["user:1", "user_1"] {
        service.store.insert(key, "both");
    }
    service.store.insert("user:2", "new alone");
    service.drive(&runner).unwrap();
    for (key, value) in
        [("user:1", "both"), ("user_1", "both"), ("user:2", "new alone"), ("user_2", "before")]
    {
        assert_eq!(service.text(key).as_deref(), Some(value), "{key}");
    }
}

#[test]
fn copying_fails_if_old_keys_alone_are_written_all_the_time() {
    let service = pairs(&[("user_1", "x")]);
    let runner = service.runner(vec![migration(users().copying())]);
    let error = (0..100).find_map(|number| {
        service.store.insert("user_1", format!("{number}"));
        service.request(&runner).err()
    });
    let error = error.expect("it gives up").to_string();
    assert!(error.contains("Deploy a version that writes both keys"), "{error}");
    service.store.insert("user_1", "written alone before the deploy");
    service.drive(&runner).expect("when that ends, the next run finishes it");
    assert_eq!(service.text("user:1"), service.text("user_1"));
}

#[test]
fn copying_finds_collisions_before_anything_is_written() {
    let service = pairs(&[("user:1", "another"), ("user_1", "one"), ("user_2", "two")]);
    let error = error(&service, users().copying());
    assert!(
        error.contains("`user_1` would get the key `user:1`, at which there is something else"),
        "{error}"
    );
    assert_eq!(keys(&service), ["user:1", "user_1", "user_2"]);
}

#[test]
fn a_mapping_that_is_mended_before_copying_is_applied_is_refused() {
    let other = || Rekey::prefix("user_", "other:").copying();
    for requests in 1..4 {
        let service = pairs(&[("user_1", "one"), ("user_2", "two")]);
        let runner = service.runner(vec![migration(users().copying())]);
        for _ in 0..requests {
            if service.request(&runner).unwrap().is_finished() {
                return;
            }
        }
        let error = error(&service, other());
        assert!(
            error.contains("`user_1` was copied to `user:1` and would now get `other:1`"),
            "{requests}: {error}"
        );
        assert_eq!(keys(&service), ["user:1", "user:2", "user_1", "user_2"], "{requests}");
    }
    panic!("it was never applied");
}

#[test]
fn a_rollback_of_copying_deletes_the_new_keys_and_leaves_what_has_no_old_one() {
    let service = pairs(&[("user_1", "one"), ("user_2", "two")]);
    let runner = service.runner(vec![migration(users().copying())]);
    service.drive(&runner).unwrap();
    service.store.insert("user:3", "new alone");
    service.store.insert("user:2", "newer");
    service.roll_back(&runner).unwrap();
    assert_eq!(keys(&service), ["user:3", "user_1", "user_2"]);
    assert_eq!(service.text("user_2").as_deref(), Some("two"), "the old key wins");
}

#[test]
fn deleting_deletes_old_keys_that_have_new_ones_whatever_they_hold() {
    let service = pairs(&[("user:1", "same"), ("user:2", "newer"), ("user_1", "same"), ("user_2", "older")]);
    assert_eq!(left(&service, users().deleting()), []);
    assert_eq!(keys(&service), ["user:1", "user:2"]);
    assert_eq!(service.text("user:2").as_deref(), Some("newer"));
}

#[test]
fn deleting_looks_twice_before_it_deletes_or_leaves() {
    let service = pairs(&[("user:1", "x"), ("user_1", "x"), ("user_2", "x")]);
    let runner = service.runner(vec![migration(users().deleting())]);
    let report = block_on(runner.run_pending(&())).unwrap();
    assert!(report.retry_after.unwrap().as_secs() >= 90, "until KV shows everywhere what it shows here");
    assert_eq!(keys(&service), ["user:1", "user_1", "user_2"], "nothing is deleted at the first look");
    // Between the looks one new key disappears, and another one appears.
    block_on(service.store.delete("user:1")).unwrap();
    service.store.insert("user:2", "x");
    let reports = service.drive(&runner).unwrap();
    assert_eq!(keys(&service), ["user:2", "user_1"]);
    assert_eq!(reports.last().unwrap().details[0].failed_entries[0].key, "user_1");
}

#[test]
fn deleting_leaves_and_reports_what_has_nothing_at_its_new_key() {
    let service = pairs(&[("user:1", "x"), ("user_1", "x"), ("user_2", "ended by the service")]);
    let reason = "was left: it has nothing at its new key `user:2`: the service may have deleted it there";
    assert_eq!(left(&service, users().deleting()), [("user_2".to_owned(), reason.to_owned())]);
    assert_eq!(keys(&service), ["user:1", "user_2"]);
}

#[test]
fn deleting_with_copying_missing_copies_what_has_nothing_at_its_new_key() {
    let service = pairs(&[("user:1", "x"), ("user_1", "x"), ("user_2", "missing")]);
    let runner = service.runner(vec![migration(users().deleting().copying_missing())]);
    while service.text("user:2").is_none() {
        service.request(&runner).unwrap();
    }
    assert!(service.text("user_2").is_some(), "the copy is looked at later");
    let reports = service.drive(&runner).unwrap();
    assert_eq!(keys(&service), ["user:1", "user:2"]);
    assert_eq!(service.text("user:2").as_deref(), Some("missing"));
    assert!(reports.last().unwrap().details[0].failed_entries.is_empty());
}

#[test]
fn deleting_without_copying_before_it_is_refused() {
    let entries: Vec<InitialEntry> =
        (0..1_200).map(|n| InitialEntry::new(format!("user_{n:04}"), "x")).collect();
    for rekey in [users().deleting(), users().deleting().copying_missing()] {
        let service = Service::holding(&entries, 900);
        let error = error(&service, rekey);
        assert!(error.contains("more than 1000 entries have nothing at their new keys"), "{error}");
        assert!(error.contains("`copying()`"), "{error}");
        assert_eq!(keys(&service).len(), 1_200);
    }
}

#[test]
fn deleting_refuses_two_old_keys_with_one_new_key_before_it_deletes() {
    let entries = [("user:a", "1"), ("user_A", "1"), ("user_a", "2")];
    let lower_case = || Rekey::new("user_", |key| Some(key.name.replace("user_", "user:").to_lowercase()));
    let service = pairs(&entries);
    let error = error(&service, lower_case().deleting());
    assert!(
        error.contains("`user_a` would get the key `user:a`, which another entry gets as well"),
        "{error}"
    );
    assert_eq!(keys(&service), ["user:a", "user_A", "user_a"]);

    let service = pairs(&entries);
    drive(&service, lower_case().with_collisions(Collisions::Skip).deleting()).unwrap();
    assert_eq!(keys(&service), ["user:a", "user_a"], "the other one is nowhere else");
}

#[test]
fn deleting_with_collisions_skip_deletes_only_what_is_the_same_at_its_new_key() {
    let service = pairs(&[("user:1", "another"), ("user:2", "same"), ("user_1", "one"), ("user_2", "same")]);
    let skipping = || users().with_collisions(Collisions::Skip);
    let migrations = || {
        let copy = kv_migrations::Migration::rekey("copy", "", skipping().copying());
        vec![copy, migration(skipping().deleting())]
    };
    let reports = service.drive(&service.runner(migrations())).unwrap();
    assert_eq!(keys(&service), ["user:1", "user:2", "user_1"], "what could not be copied is not deleted");
    let details: Vec<_> = reports.into_iter().flat_map(|report| report.details).collect();
    assert!(details.iter().all(|it| it.failed_entries.len() == 1 && it.failed_entries[0].key == "user_1"));
}

#[test]
fn deleting_moves_on_when_old_keys_appear_late() {
    let service = pairs(&[("user:1", "x"), ("user_1", "x")]);
    let runner = service.runner(vec![migration(users().deleting())]);
    service.request(&runner).unwrap();
    service.request(&runner).unwrap();
    for key in ["user_2", "user:2"] {
        service.store.insert(key, "by an instance of the release before");
    }
    service.drive(&runner).unwrap();
    assert_eq!(keys(&service), ["user:1", "user:2"]);
}

#[test]
fn a_rollback_of_deleting_copies_the_entries_back() {
    let service = pairs(&[("user:1", "x"), ("user_1", "x"), ("user:2", "new alone")]);
    let runner = service.runner(vec![migration(users().deleting())]);
    service.drive(&runner).unwrap();
    assert_eq!(keys(&service), ["user:1", "user:2"]);
    service.roll_back(&runner).unwrap();
    assert_eq!(keys(&service), ["user:1", "user:2", "user_1", "user_2"]);
    assert_eq!(service.text("user_2").as_deref(), Some("new alone"));
}

#[test]
fn a_part_of_a_rekey_without_inverse_is_irreversible() {
    let rekey = || Rekey::new("user_", |key| Some(key.name.replace("user_", "user:")));
    assert!(!migration(rekey().copying()).is_reversible());
    assert!(!migration(rekey().deleting()).is_reversible());
    assert!(migration(users().copying()).is_reversible() && migration(users().deleting()).is_reversible());
}

#[test]
fn a_checkpoint_of_one_part_is_not_read_by_another() {
    let service = pairs(&[("user_1", "x")]);
    service.request(&service.runner(vec![migration(users().copying())])).unwrap();
    for other in [users(), users().deleting()] {
        let error = error(&service, other);
        assert!(error.contains("cannot read its checkpoint"), "{error}");
    }
}

/// Elsewhere the service writes both keys. The sweep still sees its write before that, of the old key alone, copies it over, and
/// is cut off at any operation. The run after it, within KV's delay, must not take that copy for the service's.
#[test]
fn a_copying_that_is_cut_off_in_a_sweep_does_not_hide_what_the_service_wrote() {
    let mut operations = 0;
    for operation in 0.. {
        let service = pairs(&[("user_1", "0")]);
        let kv = DelayedKv::new(service.store.clone(), service.clock.clone(), Duration::from_mins(1));
        let (here, elsewhere) = (kv.at(0), kv.at(1));
        let migrations = || vec![migration(users().copying())];
        let write = |key: &str, value: &str| {
            block_on(elsewhere.put(key, value.as_bytes(), &PutOptions::new())).unwrap();
        };
        let copied = block_on(service.runner_on(here.clone(), migrations()).run_pending(&())).unwrap();
        let wait = copied.retry_after.expect("it waits for KV");
        service.clock.advance(Duration::from_secs(20));
        write("user_1", "1");
        service.clock.advance(wait.saturating_sub(Duration::from_secs(25)));
        write("user:1", "2");
        write("user_1", "2");
        service.clock.advance(Duration::from_secs(5));
        let crashing = faulty(here.clone(), Fault::Crash(operation));
        let crashed = block_on(service.runner_on(crashing, migrations()).run_pending(&()));
        service.clock.advance(Duration::from_secs(15));
        service.drive(&service.runner_on(here, migrations())).unwrap();
        let value = service.store.value("user:1").unwrap();
        assert_eq!(value, b"2", "cut off before operation {operation}");
        if crashed.is_ok() {
            operations = operation;
            break;
        }
    }
    assert!(operations > 8, "the sweep reads, writes and records: {operations}");
}
