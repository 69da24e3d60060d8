//! A re-key whose mapping sees values.

use std::cell::Cell;

use futures::executor::block_on;
use kv_migrations::kv::{MemoryStore, StoreExt};
use kv_migrations::{Collisions, Error, Migration, Rekey};

use crate::rekey::{drive, error, keys, migration};
use crate::service::{InitialEntry, Service, holding};

/// Moves `user_{id}` to `user:{tenant}:{id}`. The tenant is the value up to its first `/`. What has none stays.
pub fn users() -> Rekey {
    Rekey::by_value("user_", |user| {
        let Some(end) = user.value().iter().position(|byte| *byte == b'/') else { return Ok(None) };
        let tenant = std::str::from_utf8(&user.value()[..end])?;
        Ok(Some(format!("user:{tenant}:{}", user.name().trim_start_matches("user_"))))
    })
}

pub fn reversible_users() -> Rekey {
    users().with_inverse("user:", |key| Some(format!("user_{}", key.name.splitn(3, ':').nth(2)?)))
}

/// Runs the re-key; the service writes as `write` says once the first copies are made.
pub fn drive_writing(
    service: &Service,
    rekey: fn() -> Rekey,
    write: impl Fn(&MemoryStore),
) -> Result<Vec<(String, String)>, Error> {
    let runner = service.runner(vec![migration(rekey())]);
    let has_written = Cell::new(false);
    loop {
        let report = service.request(&runner)?;
        if keys(service).iter().any(|key| key.starts_with("user:")) && !has_written.replace(true) {
            write(&service.store);
        }
        if report.is_finished() {
            let left = report.details.into_iter().flat_map(|detail| detail.failed_entries);
            return Ok(left.map(|left| (left.key, left.reason)).collect());
        }
    }
}

pub fn delete(service: &Service, key: &str) {
    block_on(service.store.delete(key)).expect("KV deletes it");
}

pub fn entries(service: &Service) -> Vec<(String, String)> {
    let text = |key: String| {
        let value = service.text(&key).unwrap_or_default();
        (key, value)
    };
    keys(service).into_iter().map(text).collect()
}

pub fn pairs(entries: &[(&str, &str)]) -> Vec<(String, String)> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn an_entry_is_moved_by_its_value_with_all_that_it_has() {
    let long = format!("user_{}", "k".repeat(500));
    let initial = [
        InitialEntry {
            metadata: Some(r#"{"z":1}"#),
            ttl: Some(5_000),
            ..InitialEntry::new("user_1", [b'a', b'/', 0xff, 0])
        },
        InitialEntry::new("user_bom", "\u{FEFF}a/x"),
        InitialEntry { ttl: Some(75), ..InitialEntry::new("user_expires", "a/soon") },
        InitialEntry::new("user_none", "no tenant"),
        InitialEntry::new("user_", "ä/empty"),
        InitialEntry::new(long.clone(), "b/long"),
    ];
    let service = Service::holding(&initial, 900);
    let mut expected = service.store.entries();
    for (key, _) in &mut expected {
        key.name = match key.name.as_str() {
            "user_1" | "user_bom" => key.name.replace("user_", "user:a:"),
            "user_expires" => {
                key.name.clear();
                continue;
            }
            "user_" => "user:ä:".to_owned(),
            name if name == long => name.replace("user_", "user:b:"),
            _ => continue,
        };
    }
    expected.retain(|(key, _)| !key.name.is_empty());
    expected.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    drive(&service, users()).unwrap();
    let moved: Vec<_> =
        service.store.entries().into_iter().filter(|(key, _)| key.name.starts_with("user")).collect();
    assert_eq!(moved, expected);
}

#[test]
fn keys_that_no_bulk_get_returns_are_mapped_by_their_values() {
    let service = holding(&[("1", "a/one"), ("42", "none"), ("__proto__", "b/proto"), ("x", "a/x")]);
    let rekey = Rekey::by_value("", |entry| {
        let tenant = entry.text()?.split_once('/').map(|(tenant, _)| tenant);
        let is_old = !entry.name().starts_with("by/");
        Ok(tenant.filter(|_| is_old).map(|tenant| format!("by/{tenant}/{}", entry.name())))
    });
    drive(&service, rekey).unwrap();
    assert_eq!(keys(&service), ["42", "by/a/1", "by/a/x", "by/b/__proto__"]);
}

#[test]
fn a_value_that_the_mapping_cannot_read_is_named_before_anything_is_written() {
    let initial = [("user_1", "a/x"), ("user_2", "b/x")].map(|(key, value)| InitialEntry::new(key, value));
    let service =
        Service::holding(&[&initial[..], &[InitialEntry::new("user_3", [0xff, b'/'])]].concat(), 900);
    let error = error(&service, users());
    assert!(error.contains("at the entry `user_3`: invalid utf-8"), "{error}");
    assert!(!error.contains("\u{fffd}"), "no value is told: {error}");
    assert_eq!(keys(&service), ["user_1", "user_2", "user_3"], "nothing is written");

    service.store.insert("user_3", "c/x");
    drive(&service, users()).unwrap();
    assert_eq!(keys(&service), ["user:a:1", "user:b:2", "user:c:3"]);
}

#[test]
fn an_entry_whose_value_changes_before_it_is_swept_ends_at_its_last_key() {
    for rekey in [users, reversible_users] {
        let service = holding(&[("user_1", "a/x"), ("user_2", "a/y")]);
        let left = drive_writing(&service, rekey, |store| store.insert("user_1", "b/x"));
        assert_eq!(left.unwrap(), []);
        assert_eq!(entries(&service), pairs(&[("user:a:2", "a/y"), ("user:b:1", "b/x")]));
    }
}

#[test]
fn a_copy_under_an_outdated_key_is_left_and_reported_if_the_service_has_changed_it() {
    let service = holding(&[("user_1", "a/x")]);
    let left = drive_writing(&service, users, |store| {
        store.insert("user_1", "b/x");
        store.insert("user:a:1", "a/newer");
    });
    let [(key, reason)] = <[_; 1]>::try_from(left.unwrap()).expect("one is left");
    assert_eq!(key, "user:a:1");
    assert!(reason.contains("something else than what was copied there from `user_1`"), "{reason}");
    assert_eq!(entries(&service), pairs(&[("user:a:1", "a/newer"), ("user:b:1", "b/x")]));
}

#[test]
fn an_entry_that_is_to_stay_by_now_keeps_its_old_key_alone() {
    let service = holding(&[("user_1", "a/x"), ("user_2", "a/y")]);
    let left = drive_writing(&service, users, |store| store.insert("user_1", "no tenant"));
    assert_eq!(left.unwrap(), []);
    assert_eq!(entries(&service), pairs(&[("user:a:2", "a/y"), ("user_1", "no tenant")]));
}

/// The service may have deleted it, or another run by what it had read before the value changed.
#[test]
fn the_last_copy_of_an_entry_that_is_gone_is_left_and_reported() {
    let service = holding(&[("user_1", "a/x"), ("user_2", "a/y")]);
    let runner = service.runner(vec![migration(users())]);
    service.request(&runner).unwrap();
    service.store.insert("user_1", "b/x");
    service.request(&runner).unwrap();
    delete(&service, "user_1");
    let left: Vec<_> =
        service.drive(&runner).unwrap().into_iter().flat_map(|report| report.details).collect();
    let left: Vec<_> = left.into_iter().flat_map(|detail| detail.failed_entries).collect();
    assert!(left.len() == 1 && left[0].key == "user:a:1", "{left:?}");
    assert!(left[0].reason.contains("gone by now"), "{left:?}");
    assert_eq!(entries(&service), pairs(&[("user:a:1", "a/x"), ("user:a:2", "a/y")]));
}

#[test]
fn an_entry_that_is_written_under_its_old_key_while_the_others_are_swept_is_moved_too() {
    for old in ["user_0", "user_9"] {
        let service = holding(&[("user_1", "a/x"), ("user_2", "a/y")]);
        let left = drive_writing(&service, users, |store| store.insert(old, "c/late"));
        assert_eq!(left.unwrap(), []);
        let new = old.replace("user_", "user:c:");
        assert_eq!(keys(&service), ["user:a:1", "user:a:2", &new]);
    }
}

#[test]
fn a_mapping_that_is_mended_while_entries_are_copied_moves_them_to_their_right_keys() {
    let service = holding(&[("user_1", "a/x"), ("user_2", "b/y")]);
    let wrong = Rekey::by_value("user_", |user| Ok(Some(user.name().replace("user_", "wrong:"))));
    service.request(&service.runner(vec![migration(wrong)])).unwrap();
    assert_eq!(keys(&service), ["user_1", "user_2", "wrong:1", "wrong:2"]);
    drive(&service, users()).unwrap();
    assert_eq!(entries(&service), pairs(&[("user:a:1", "a/x"), ("user:b:2", "b/y")]));
}

#[test]
fn collisions_are_found_before_anything_is_written() {
    let by_tenant = || {
        Rekey::by_value("user_", |user| {
            Ok(user.text()?.split_once('/').map(|(tenant, _)| format!("t:{tenant}")))
        })
    };
    let initial = [("t:c", "there before"), ("user_1", "a/x"), ("user_2", "a/y"), ("user_3", "c/z")];
    let service = holding(&initial);
    let error = error(&service, by_tenant());
    assert!(error.contains("`user_2` would get the key `t:a`, which another entry gets as well"), "{error}");
    assert!(error.contains("`user_3` would get the key `t:c`, at which there is something else"), "{error}");
    assert_eq!(entries(&service), pairs(&initial));

    drive(&service, by_tenant().with_collisions(Collisions::Skip)).unwrap();
    let skipped = [("t:a", "a/x"), ("t:c", "there before"), ("user_2", "a/y"), ("user_3", "c/z")];
    assert_eq!(entries(&service), pairs(&skipped));
}

#[test]
fn two_entries_that_come_to_have_the_same_new_key_both_keep_their_values() {
    let by_tenant = || {
        Rekey::by_value("user_", |user| {
            Ok(user.text()?.split_once('/').map(|(tenant, _)| format!("user:{tenant}")))
        })
    };
    let service = holding(&[("user_1", "a/x"), ("user_2", "b/y")]);
    let error = drive_writing(&service, by_tenant, |store| {
        store.insert("user_1", "c/x");
        store.insert("user_2", "c/y");
    });
    let error = error.expect_err("one of them cannot be moved").to_string();
    assert!(
        error.contains("`user_2` would get the key `user:c`, which another entry gets as well"),
        "{error}"
    );
    service.store.insert("user_2", "d/y");
    drive(&service, by_tenant()).unwrap();
    assert_eq!(entries(&service), pairs(&[("user:c", "c/x"), ("user:d", "d/y")]));
}

#[test]
fn an_inverse_sees_keys_and_moves_all_back() {
    let initial = [("user_1", "a/x"), ("user_2", "b/y"), ("user_none", "z")];
    let service = holding(&initial);
    let runner = service.runner(vec![migration(reversible_users())]);
    service.drive(&runner).unwrap();
    assert_eq!(keys(&service), ["user:a:1", "user:b:2", "user_none"]);
    // Also what the service has changed meanwhile.
    service.store.insert("user:a:1", "c/x");
    service.roll_back(&runner).unwrap();
    assert_eq!(entries(&service), pairs(&[("user_1", "c/x"), ("user_2", "b/y"), ("user_none", "z")]));
}

#[test]
fn more_entries_than_a_checkpoint_holds_are_moved_in_batches() {
    let initial: Vec<InitialEntry> = (0..1_500)
        .map(|n| InitialEntry::new(format!("user_{n:0480}"), if n % 2 == 0 { "a/x" } else { "b/x" }))
        .collect();
    let service = Service::holding(&initial, 900);
    drive(&service, users()).unwrap();
    let moved = keys(&service);
    assert_eq!(moved.len(), 1_500);
    assert_eq!(moved.iter().filter(|key| key.starts_with("user:a:")).count(), 750);
    assert_eq!(moved.iter().filter(|key| key.starts_with("user:b:")).count(), 750);
}

#[test]
fn a_value_of_25_mib_is_moved() {
    let mut value = b"a/".to_vec();
    value.resize(25 * 1024 * 1024, b'x');
    let entries = [InitialEntry::new("user_1", value.clone())];
    let service = Service::holding(&entries, 900);
    drive(&service, users()).unwrap();
    assert_eq!(keys(&service), ["user:a:1"]);
    assert!(service.store.value("user:a:1").is_some_and(|moved| moved == value));
}

#[test]
fn a_table_and_the_value_together_give_the_new_key() {
    let service = holding(&[("user_1", "a/x"), ("user_2", "b/y")]);
    let rekey = Rekey::by_value_and_table(
        "user_",
        async |_, ()| Ok(vec![("a".to_owned(), 7_u32)]),
        |user, ids, ()| {
            let tenant = user.text()?.split('/').next().unwrap_or_default();
            let id = ids.iter().find_map(|(name, id)| (name == tenant).then_some(id));
            Ok(id.map(|id| format!("user:{id}:{}", user.name().trim_start_matches("user_"))))
        },
    )
    .with_inverse("user:", |key, _, ()| Ok(key.name.rsplit(':').next().map(|id| format!("user_{id}"))));
    let runner = service.runner(vec![Migration::rekey("long", "", rekey)]);
    service.drive(&runner).unwrap();
    assert_eq!(keys(&service), ["user:7:1", "user_2"]);
    service.roll_back(&runner).unwrap();
    assert_eq!(keys(&service), ["user_1", "user_2"]);
}

pub fn copying() -> Rekey {
    users().copying()
}

#[test]
fn copying_and_deleting_by_value_move_all_that_the_service_keeps_alike() {
    let service = holding(&[("user_1", "a/x"), ("user_2", "b/y"), ("user_3", "none")]);
    let runner = service.runner(vec![Migration::rekey("copy", "", users().copying())]);
    service.drive(&runner).unwrap();
    let both = ["user:a:1", "user:b:2", "user_1", "user_2", "user_3"];
    assert_eq!(keys(&service), both);
    service.store.insert("user:a:1", "a/newer");
    delete(&service, "user:b:2");
    let runner = service.runner(vec![Migration::rekey("delete", "", users().deleting())]);
    let reports = service.drive(&runner).unwrap();
    let left = reports.last().and_then(|report| report.details.last()).map(|detail| &detail.failed_entries);
    assert!(left.is_some_and(|left| left.len() == 1 && left[0].key == "user_2"), "{left:?}");
    let expected = [("user:a:1", "a/newer"), ("user_2", "b/y"), ("user_3", "none")];
    assert_eq!(entries(&service), pairs(&expected));
}

#[test]
fn copying_follows_an_entry_whose_key_changes() {
    let service = holding(&[("user_1", "a/x"), ("user_2", "a/y")]);
    let left = drive_writing(&service, copying, |store| store.insert("user_1", "b/x"));
    assert_eq!(left.unwrap(), []);
    let expected = [("user:a:2", "a/y"), ("user:b:1", "b/x"), ("user_1", "b/x"), ("user_2", "a/y")];
    assert_eq!(entries(&service), pairs(&expected));
}

#[test]
fn deleting_follows_an_entry_whose_key_changes() {
    let initial = [("user:a:1", "a/x"), ("user:b:2", "b/y"), ("user_1", "a/x"), ("user_2", "a/y")];
    for requests in 1..4 {
        let service = holding(&initial);
        let rekey = users().deleting().copying_missing();
        let runner = service.runner(vec![migration(rekey)]);
        for _ in 0..requests {
            service.request(&runner).unwrap();
        }
        assert!(service.text("user_2").is_some(), "it is not moved yet");
        service.store.insert("user_2", "c/y");
        if let Err(error) = service.drive(&runner) {
            assert!(error.to_string().contains("faster than they can be looked at"), "{error}");
            service.drive(&runner).unwrap();
        }
        let expected = [("user:a:1", "a/x"), ("user:b:2", "b/y"), ("user:c:2", "c/y")];
        assert_eq!(entries(&service), pairs(&expected), "after {requests} requests");
    }
}

#[test]
fn a_rekey_by_value_costs_little_more_than_a_plain_one() {
    let initial: Vec<InitialEntry> =
        (0..500).map(|n| InitialEntry::new(format!("user_{n:03}"), "a/x")).collect();
    let cost = |rekey: Rekey| {
        let service = Service::holding(&initial, 100_000);
        drive(&service, rekey).unwrap();
        service.store.operations()
    };
    let (plain, by_value) = (cost(Rekey::prefix("user_", "user:")), cost(users()));
    assert!(by_value - plain < 30, "{by_value} against {plain}: reads in bulk alone");
}
