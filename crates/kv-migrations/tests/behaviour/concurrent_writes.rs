//! A re-key beside a service that reads and writes meanwhile.

use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use kv_migrations::clock::Clock;
use kv_migrations::kv::{Expiration, MemoryStore, Metadata, PutOptions, StoreExt};
use kv_migrations::testing::{DelayedKv, Fault, MemoryLog, VirtualTime, faulty};
use kv_migrations::{Budget, Migration, Rekey, Runner};

use crate::rekey::{keys, migration, users};
use crate::service::{InitialEntry, Service, start};
use crate::stores::Slow;

#[test]
fn a_change_to_a_copied_entry_is_copied_too() {
    let service =
        Service::holding(&[InitialEntry::new("user_1", "before"), InitialEntry::new("user_2", "y")], 900);
    let runner = service.runner_on(service.store.clone(), vec![migration(users())]);
    service.request(&runner).unwrap();
    assert_eq!(service.store.value("user:1").unwrap(), b"before");

    let options = PutOptions::new()
        .with_metadata(Some(Metadata::from_json("1")))
        .with_expiration(Some(Expiration::After(9_000)));
    block_on(service.store.put("user_1", b"after", &options)).unwrap();
    service.drive(&runner).unwrap();
    assert_eq!(keys(&service), ["user:1", "user:2"]);
    assert_eq!(service.store.value("user:1").unwrap(), b"after");
    let (key, _) = service.store.entries().into_iter().find(|(key, _)| key.name == "user:1").unwrap();
    assert_eq!(key.metadata, options.metadata);
    assert!(key.expiration.is_some());
}

#[test]
fn a_later_expiration_of_a_copied_entry_is_copied_too() {
    let service =
        Service::holding(&[InitialEntry { ttl: Some(300), ..InitialEntry::new("user_1", "session") }], 900);
    let runner = service.runner_on(service.store.clone(), vec![migration(users())]);
    service.request(&runner).unwrap();
    let options = PutOptions::new().with_expiration(Some(Expiration::After(100_000)));
    block_on(service.store.put("user_1", b"session", &options)).unwrap();
    service.drive(&runner).unwrap();
    service.clock.advance(Duration::from_secs(50_000));
    assert_eq!(keys(&service), ["user:1"], "it must not expire before its time");
}

#[test]
fn a_value_that_the_service_wrote_to_the_new_key_stays() {
    let service = Service::holding(&[InitialEntry::new("user_1", "before")], 900);
    let runner = service.runner_on(service.store.clone(), vec![migration(users())]);
    service.request(&runner).unwrap();
    service.store.insert("user:1", "written to the new key");
    service.drive(&runner).unwrap();
    assert_eq!(keys(&service), ["user:1"]);
    assert_eq!(service.store.value("user:1").unwrap(), b"written to the new key");
}

#[test]
fn different_changes_to_both_keys_are_a_collision() {
    let service = Service::holding(&[InitialEntry::new("user_1", "before")], 900);
    let runner = service.runner_on(service.store.clone(), vec![migration(users())]);
    service.request(&runner).unwrap();
    service.store.insert("user:1", "new");
    service.store.insert("user_1", "old");
    let error = service.drive(&runner).unwrap_err().to_string();
    assert!(
        error.contains("`user_1` would get the key `user:1`, at which there is something else"),
        "{error}"
    );
    assert_eq!(service.store.value("user_1").unwrap(), b"old");
    assert_eq!(service.store.value("user:1").unwrap(), b"new");
}

#[test]
fn a_lost_copy_is_made_again() {
    let service = Service::holding(&[InitialEntry::new("user_1", "x")], 900);
    let runner = service.runner_on(service.store.clone(), vec![migration(users())]);
    service.request(&runner).unwrap();
    block_on(service.store.delete("user:1")).unwrap();
    service.drive(&runner).unwrap();
    assert_eq!(service.store.value("user:1").unwrap(), b"x");
}

#[test]
fn a_copy_made_in_the_sweep_is_verified_later_also_after_a_crash() {
    for at in 0..14 {
        let service = Service::holding(&[InitialEntry::new("user_1", "before")], 900);
        let migration = || Migration::rekey("long", "", Rekey::prefix("user_", "user:"));
        let runner = service.runner_on(service.store.clone(), vec![migration()]);
        service.request(&runner).unwrap();
        service.store.insert("user_1", "after");
        let crashing = service.runner_on(faulty(service.store.clone(), Fault::Crash(at)), vec![migration()]);
        let _ = block_on(crashing.run_pending(&()));
        let copied_now = service.store.value("user:1").unwrap() == b"after";
        if copied_now {
            block_on(runner.run_pending(&())).unwrap();
            assert!(
                service.store.value("user_1").is_some(),
                "crash at {at}: copied and deleted within a moment"
            );
        }
    }
}

#[test]
fn entries_that_appear_during_a_rekey_are_moved() {
    let service = Service::holding(&[InitialEntry::new("user_5", "x")], 900);
    let runner = service.runner_on(service.store.clone(), vec![migration(users())]);
    service.request(&runner).unwrap();
    service.store.insert("user_1", "behind");
    service.request(&runner).unwrap();
    service.store.insert("user_9", "after the sweep");
    service.drive(&runner).unwrap();
    assert_eq!(keys(&service), ["user:1", "user:5", "user:9"]);
}

#[test]
fn a_rekey_fails_if_old_keys_are_written_all_the_time() {
    let service = Service::holding(&[InitialEntry::new("user_1", "x")], 900);
    let runner = service.runner_on(service.store.clone(), vec![migration(users())]);
    let error = (0..100).find_map(|number| {
        service.store.insert("user_1", format!("{number}"));
        service.request(&runner).err()
    });
    let error = error.expect("it gives up").to_string();
    assert!(error.contains("entries change faster than they can be moved"), "{error}");
    service.drive(&runner).expect("when that ends, the next run finishes it");
    assert_eq!(keys(&service), ["user:1"]);
}

#[test]
fn sweeps_before_a_collision_that_somebody_has_solved_do_not_count_as_changes_of_the_service() {
    let service = Service::holding(&[InitialEntry::new("user_1", "x")], 900);
    let runner = service.runner_on(service.store.clone(), vec![migration(users())]);
    service.request(&runner).unwrap();
    for number in 0..3 {
        service.store.insert("user_1", format!("written {number}"));
        service.request(&runner).expect("a changed entry is copied again");
    }
    service.store.insert("user:1", "new");
    service.store.insert("user_1", "old");
    let error = service.drive(&runner).unwrap_err().to_string();
    assert!(error.contains("at which there is something else"), "{error}");

    block_on(service.store.delete("user:1")).unwrap();
    service.drive(&runner).expect("the service has written nothing since");
    assert_eq!(keys(&service), ["user:1"]);
    assert_eq!(service.store.value("user:1").unwrap(), b"old");
}

/// Moves entries while a service elsewhere writes both keys of one entry after the other. Returns the values that exist in
/// the end, and those that were written last.
fn move_beside_a_service(delay: Duration) -> (Vec<String>, Vec<String>) {
    let entries: Vec<InitialEntry> =
        (0..8).map(|number| InitialEntry::new(format!("user_{number}"), "first")).collect();
    let service = Service::holding(&entries, 40);
    let kv = DelayedKv::new(service.store.clone(), service.clock.clone(), Duration::from_mins(1));
    let elsewhere = kv.at(1);
    let runner = service.runner_on(kv.at(0), vec![migration(users().with_visibility_delay(delay))]);
    let mut last: Vec<String> = vec!["first".to_owned(); 8];
    for step in 0..3_000 {
        service.clock.advance(Duration::from_secs(3));
        if step < 60 {
            let number = step * 7 % 8;
            let value = format!("written {step}");
            for key in [format!("user_{number}"), format!("user:{number}")] {
                block_on(elsewhere.put(&key, value.as_bytes(), &PutOptions::new())).unwrap();
            }
            last[number] = value;
        }
        service.clock.advance(Duration::from_secs(4));
        // A run may fail because entries change too fast; then the next one tries again.
        if block_on(runner.run_pending(&())).is_ok_and(|report| report.is_finished()) {
            break;
        }
    }
    let value = |number| {
        let value = service.store.value(&format!("user:{number}")).unwrap_or_default();
        String::from_utf8(value).unwrap()
    };
    ((0..8).map(value).collect(), last)
}

#[test]
fn writes_to_both_keys_that_are_seen_a_minute_late_are_kept() {
    let (found, last) = move_beside_a_service(Duration::from_secs(90));
    assert_eq!(found, last);
}

#[test]
fn without_the_wait_writes_to_both_keys_are_lost() {
    let (found, last) = move_beside_a_service(Duration::ZERO);
    assert_ne!(found, last, "the test above could not fail");
}

#[test]
fn two_rekeys_at_once_keep_writes_to_both_keys() {
    for seed in 0..10_u64 {
        let time = VirtualTime::starting_at(start());
        let store = MemoryStore::with_clock(time.clone());
        for number in 0..30 {
            store.insert(&format!("user_{number:02}"), "first");
        }
        let runner = |latency: u64| {
            let slow = Slow::new(store.clone(), &time, Duration::from_millis(latency));
            let migration = Migration::rekey("long", "", Rekey::prefix("user_", "user:"));
            Runner::new(slow, "sim", vec![migration])
                .unwrap()
                .with_clock(Arc::new(time.clone()))
                .with_log(Arc::new(MemoryLog::default()))
                .with_budget(Budget::default().with_operations(25 + seed))
        };
        let (one, two) = (runner(200 + seed * 13), runner(900 - seed * 7));
        let drive = async |runner: &Runner| {
            for _ in 0..600 {
                match runner.run_pending(&()).await {
                    Ok(report) if report.is_finished() => return,
                    Ok(report) => time.sleep(report.retry_after.unwrap()).await,
                    Err(_) => time.sleep(Duration::from_secs(100)).await,
                }
            }
        };
        let service = async {
            let mut last = vec!["first".to_owned(); 30];
            let mut state = seed * 7919 + 1;
            for step in 0..400 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                time.sleep(Duration::from_millis(300 + (state >> 40) % 1_500)).await;
                let number = (state >> 33) as usize % 30;
                let value = format!("written {step}");
                store.insert(&format!("user_{number:02}"), &value);
                store.insert(&format!("user:{number:02}"), &value);
                last[number] = value;
            }
            last
        };
        let ((), (), last) = time.run(async { futures::join!(drive(&one), drive(&two), service) });
        // The service still writes both keys after the end of the re-keys.
        for (number, expected) in last.iter().enumerate() {
            let found =
                store.value(&format!("user:{number:02}")).map(|value| String::from_utf8(value).unwrap());
            assert_eq!(found.as_ref(), Some(expected), "seed {seed}, {number}");
        }
    }
}
