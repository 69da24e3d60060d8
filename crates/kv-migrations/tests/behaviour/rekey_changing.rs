//! A re-key that changes entries on their way.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::executor::block_on;
use kv_migrations::testing::{Fault, faulty};
use kv_migrations::{BoxError, Migration, MovingEntry, Rekey, RunReport, Runner};
use proptest::prelude::*;

use crate::rekey::keys;
use crate::rekey_by_value;
use crate::rekey_by_value_crashes::initial_entries;
use crate::service::{InitialEntry, Service};
use crate::stores::{Flaky, ShortPages};

/// Stands for randomness: never the same again.
static NONCE: AtomicU64 = AtomicU64::new(0);

/// "Encrypts" a value under its new key, with a nonce: `nonce/key/value`.
async fn seal(entry: MovingEntry, new: &str, (): &()) -> Result<MovingEntry, BoxError> {
    let nonce = NONCE.fetch_add(1, Ordering::Relaxed);
    let value = [format!("{nonce}/{new}/").as_bytes(), entry.value()].concat();
    Ok(entry.with_value(value))
}

/// The value without the nonce; the value itself where there is none.
fn opened(value: &[u8]) -> Vec<u8> {
    let end = value.iter().position(|byte| *byte == b'/');
    let is_nonce = |end: &usize| *end > 0 && value[..*end].iter().all(u8::is_ascii_digit);
    end.filter(is_nonce).map_or(value, |end| &value[end + 1..]).to_vec()
}

async fn unseal(entry: MovingEntry, _: &str, (): &()) -> Result<MovingEntry, BoxError> {
    let value = opened(entry.value()).splitn(2, |byte| *byte == b'/').nth(1).map(<[u8]>::to_vec);
    let value = value.ok_or("it is not sealed")?;
    Ok(entry.with_value(value))
}

pub fn sealing() -> Rekey<()> {
    Rekey::prefix("user_", "user:").changing(seal).changing_back(unseal)
}

fn migration(rekey: Rekey<()>) -> Migration {
    Migration::rekey("long", "", rekey)
}

pub fn runner(service: &Service, rekey: Rekey<()>) -> Runner {
    service.runner(vec![migration(rekey)])
}

pub fn holding(entries: &[(&str, &str)]) -> Service {
    let entries: Vec<InitialEntry> =
        entries.iter().map(|(key, value)| InitialEntry::new(*key, *value)).collect();
    Service::holding(&entries, 900)
}

pub fn left(reports: Vec<RunReport>) -> Vec<(String, String)> {
    let failed = reports.into_iter().flat_map(|report| report.details).flat_map(|it| it.failed_entries);
    failed.map(|entry| (entry.key, entry.reason)).collect()
}

/// All entries but markers: without nonces.
pub fn contents(service: &Service) -> BTreeMap<String, Vec<u8>> {
    let entries = service.store.entries().into_iter().filter(|(key, _)| !key.name.starts_with("migration_"));
    entries.map(|(key, value)| (key.name, opened(&value))).collect()
}

fn bytes(value: &str) -> Vec<u8> {
    value.as_bytes().to_vec()
}

#[test]
fn a_copy_has_what_the_change_returns_and_what_it_does_not_set_stays() {
    let entry = |key: &str| InitialEntry {
        metadata: Some("[1]"),
        ttl: Some(100_000),
        ..InitialEntry::new(key, "\u{FEFF}x")
    };
    let service = Service::holding(&["user_all", "user_clear", "user_same"].map(entry), 900);
    let before = service.store.entries();
    let rekey = Rekey::prefix("user_", "user:").changing(async |entry, new, ()| match new {
        "user:all" => Ok(entry.with_value("y").with_metadata(&[2])?.with_expiration_ttl(5_000)),
        "user:clear" => Ok(entry.clear_metadata().clear_expiration()),
        _ => Ok(entry),
    });
    let now = before[0].0.expiration.unwrap() - 100_000;
    service.drive(&runner(&service, rekey)).unwrap();
    let after: BTreeMap<String, _> =
        service.store.entries().into_iter().map(|(key, value)| (key.name.clone(), (key, value))).collect();
    let (key, value) = &after["user:all"];
    assert_eq!((value.as_slice(), key.metadata.as_ref().unwrap().as_json()), (b"y".as_slice(), "[2]"));
    assert!(
        key.expiration.is_some_and(|at| (now + 5_000..now + 5_010).contains(&at)),
        "{:?}",
        key.expiration
    );
    let (key, value) = &after["user:clear"];
    assert_eq!((value, key.metadata.as_ref(), key.expiration), (&before[1].1, None, None));
    let (key, value) = &after["user:same"];
    assert_eq!(
        (value, &key.metadata, key.expiration),
        (&before[2].1, &before[2].0.metadata, before[2].0.expiration)
    );
    assert_eq!(after.len(), 4, "and the marker: the old keys are gone");
}

#[test]
fn a_change_knows_the_context() {
    struct Region(&'static str);
    let service = holding(&[("user_1", "Ada")]);
    let rekey = Rekey::prefix("user_", "user:").changing(async |user, _, region: &Region| {
        let value = format!("{} in {}", user.text()?, region.0);
        Ok(user.with_value(value))
    });
    let runner =
        Runner::new(service.store.clone(), "my-service", vec![Migration::rekey("long", "", rekey)]).unwrap();
    block_on(runner.run_pending(&Region("eu"))).unwrap();
    assert_eq!(service.text("user:1").as_deref(), Some("Ada in eu"));
}

#[test]
fn a_nonce_does_no_harm() {
    let service = holding(&[("user_1", "Ada"), ("user_2", "Bob")]);
    assert_eq!(left(service.drive(&runner(&service, sealing())).unwrap()), []);
    assert_eq!(
        contents(&service),
        BTreeMap::from([
            ("user:1".to_owned(), b"user:1/Ada".to_vec()),
            ("user:2".to_owned(), b"user:2/Bob".to_vec()),
        ])
    );
}

#[test]
fn an_entry_that_changes_meanwhile_is_changed_and_copied_again() {
    let service = holding(&[("user_1", "Ada"), ("user_2", "Bob")]);
    let runner = runner(&service, sealing());
    service.request(&runner).unwrap();
    assert_eq!(keys(&service), ["user:1", "user:2", "user_1", "user_2"]);
    service.store.insert("user_1", "Ada Lovelace");
    service.drive(&runner).unwrap();
    assert_eq!(contents(&service).get("user:1").cloned(), Some(bytes("user:1/Ada Lovelace")));
    assert_eq!(keys(&service), ["user:1", "user:2"]);
}

#[test]
fn what_the_service_writes_over_a_changed_copy_wins() {
    let service = holding(&[("user_1", "Ada")]);
    let runner = runner(&service, sealing());
    service.request(&runner).unwrap();
    service.store.insert("user:1", "by the service");
    service.drive(&runner).unwrap();
    assert_eq!(
        (keys(&service), service.text("user:1").as_deref()),
        (vec!["user:1".to_owned()], Some("by the service"))
    );
}

#[test]
fn a_copy_that_would_expire_at_once_is_not_written() {
    let service = holding(&[("user_1", "Ada"), ("user_2", "Bob")]);
    let rekey = Rekey::prefix("user_", "user:").changing(async |entry, new, ()| {
        Ok(if new == "user:1" { entry.with_expiration_ttl(80) } else { entry })
    });
    let left = left(service.drive(&runner(&service, rekey)).unwrap());
    assert_eq!(keys(&service), ["user:2", "user_1"]);
    assert_eq!(
        left,
        [(
            "user_1".to_owned(),
            "was left: it would expire within 90 seconds at its new key `user:1`".to_owned()
        )]
    );
}

#[test]
fn an_error_of_the_change_names_the_entry_and_the_next_run_goes_on_there() {
    let service = holding(&[("user_1", "1"), ("user_2", "secret"), ("user_3", "3")]);
    let rekey = || {
        Rekey::prefix("user_", "user:").changing(async |entry, _, ()| {
            let number: u64 = entry.json()?;
            Ok(entry.with_value((number + 1).to_string()))
        })
    };
    let error = service.drive(&runner(&service, rekey())).unwrap_err().to_string();
    assert!(error.contains("at the entry `user_2`") && !error.contains("secret"), "{error}");
    assert!(keys(&service).contains(&"user_2".to_owned()));
    service.store.insert("user_2", "2");
    service.drive(&runner(&service, rekey())).unwrap();
    let expected = [("user:1", "2"), ("user:2", "3"), ("user:3", "4")];
    assert_eq!(
        contents(&service),
        expected.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec())).into()
    );
}

#[test]
fn what_the_change_returns_is_no_collision_at_the_new_key_and_the_unchanged_entry_is() {
    let upper = || {
        Rekey::prefix("user_", "user:").changing(async |entry, _, ()| {
            let value = entry.text()?.to_uppercase();
            Ok(entry.with_value(value))
        })
    };
    let service = holding(&[("user_1", "ada"), ("user:1", "ADA")]);
    service.drive(&runner(&service, upper())).unwrap();
    assert_eq!((keys(&service), service.text("user:1").as_deref()), (vec!["user:1".to_owned()], Some("ADA")));
    let service = holding(&[("user_1", "ada"), ("user:1", "ada")]);
    let error = service.drive(&runner(&service, upper())).unwrap_err().to_string();
    assert!(
        error.contains("`user_1` would get the key `user:1`, at which there is something else"),
        "{error}"
    );
    assert_eq!(keys(&service), ["user:1", "user_1"]);
}

#[test]
fn a_rollback_changes_entries_back_and_without_a_way_back_there_is_none() {
    let service = holding(&[("user_1", "Ada"), ("user_2", "Bob")]);
    let runner = runner(&service, sealing());
    service.drive(&runner).unwrap();
    service.roll_back(&runner).unwrap();
    assert_eq!(
        contents(&service),
        BTreeMap::from([("user_1".to_owned(), b"Ada".to_vec()), ("user_2".to_owned(), b"Bob".to_vec())])
    );
    assert!(!migration(Rekey::prefix("user_", "user:").changing(seal)).is_reversible());
    assert!(!migration(Rekey::new("user_", |_| None).changing(seal).changing_back(unseal)).is_reversible());
}

#[test]
fn copying_changes_the_copies_and_leaves_what_the_service_wrote() {
    let service = holding(&[("user_1", "Ada"), ("user_2", "Bob"), ("user:2", "by the service")]);
    let copying = Migration::rekey("copying", "", sealing().copying());
    let deleting = || Migration::rekey("deleting", "", sealing().deleting());
    service.migrate(vec![copying]);
    assert_eq!(keys(&service), ["user:1", "user:2", "user_1", "user_2"]);
    assert_eq!(contents(&service).get("user:1").cloned(), Some(bytes("user:1/Ada")));
    assert_eq!(service.text("user:2").as_deref(), Some("by the service"));
    service.migrate(vec![deleting()]);
    assert_eq!(keys(&service), ["user:1", "user:2"]);
}

#[test]
fn copying_copies_again_what_was_written_under_the_old_key_alone() {
    let service = holding(&[("user_1", "Ada")]);
    let runner = service.runner(vec![migration(sealing().copying())]);
    service.request(&runner).unwrap();
    service.store.insert("user_1", "Ada Lovelace");
    service.drive(&runner).unwrap();
    assert_eq!(contents(&service).get("user:1").cloned(), Some(bytes("user:1/Ada Lovelace")));
}

#[test]
fn deleting_changes_what_it_copies() {
    let service = holding(&[("user_1", "Ada"), ("user_2", "Bob"), ("user:2", "newer")]);
    service.migrate(vec![Migration::rekey("deleting", "", sealing().deleting().copying_missing())]);
    assert_eq!(keys(&service), ["user:1", "user:2"]);
    assert_eq!(contents(&service).get("user:1").cloned(), Some(bytes("user:1/Ada")));
}

#[test]
fn a_checkpoint_of_a_rekey_is_not_read_by_one_that_changes() {
    let service = holding(&[("user_1", "Ada")]);
    service.request(&service.runner(vec![crate::rekey::migration(crate::rekey::users())])).unwrap();
    let error = service.drive(&runner(&service, sealing())).unwrap_err().to_string();
    assert!(error.contains("cannot read its checkpoint"), "{error}");
}

#[test]
fn changed_copies_cost_little_more_than_a_read_a_write_and_a_delete_per_entry() {
    let entries: Vec<InitialEntry> =
        (0..2_000).map(|n| InitialEntry::new(format!("user_{n:04}"), "x")).collect();
    let service = Service::holding(&entries, 900);
    let before = service.store.operations();
    service.drive(&runner(&service, sealing())).unwrap();
    let (needed, least) = (service.store.operations() - before, 3 * 2_000);
    assert!(needed * 100 <= least * 106, "{needed} operations, where {least} are the least");
}

fn some() -> Vec<InitialEntry> {
    let mut entries: Vec<InitialEntry> =
        (0..7).map(|number| InitialEntry::new(format!("user_{number}"), "value")).collect();
    entries.push(InitialEntry {
        metadata: Some("[1]"),
        ttl: Some(100_000),
        ..InitialEntry::new("user_a", "text")
    });
    entries.push(InitialEntry::new("user_binary", [0xff, 0x00, 0xfe]));
    entries.push(InitialEntry::new("user_ümläut", ""));
    entries
}

/// A crash, a lost answer or a refusal at each operation.
fn everywhere(operations: u64, mut check: impl FnMut(&Service, Fault)) {
    let faultless = Service::holding(&some(), operations);
    faultless.drive(&runner(&faultless, sealing())).unwrap();
    for at in 0..=faultless.store.operations() {
        for fault in [Fault::Crash(at), Fault::AnswerLost(at), Fault::Refused(at)] {
            let service = Service::holding(&some(), operations);
            let _ = service
                .drive(&service.runner_on(faulty(service.store.clone(), fault), vec![migration(sealing())]));
            check(&service, fault);
        }
    }
}

#[test]
fn a_copy_with_a_nonce_is_known_after_a_crash_anywhere() {
    for operations in [900, 15] {
        let expected = {
            let service = Service::holding(&some(), operations);
            service.drive(&runner(&service, sealing())).unwrap();
            contents(&service)
        };
        everywhere(operations, |service, fault| {
            let reports = service
                .drive(&runner(service, sealing()))
                .unwrap_or_else(|error| panic!("{fault:?}: it cannot be continued: {error}"));
            assert_eq!(contents(service), expected, "{fault:?}");
            assert_eq!(left(reports), [], "{fault:?}");
        });
    }
}

#[test]
fn what_the_service_writes_at_a_new_key_after_a_crash_anywhere_is_never_overwritten() {
    everywhere(900, |service, fault| {
        service.store.insert("user:3", "theirs");
        let result = service.drive(&runner(service, sealing()));
        assert_eq!(service.text("user:3").as_deref(), Some("theirs"), "{fault:?}");
        if let Err(error) = result {
            assert!(error.to_string().contains("`user_3` would get the key `user:3`"), "{fault:?}: {error}");
            assert_eq!(service.text("user_3").as_deref(), Some("value"), "{fault:?}: nobody has its value");
        }
    });
}

#[test]
fn an_entry_that_changes_after_a_crash_anywhere_is_moved_as_it_is_then() {
    everywhere(900, |service, fault| {
        if service.store.value("user_3").is_none() {
            return; // it is moved
        }
        service.store.insert("user_3", "newer");
        service
            .drive(&runner(service, sealing()))
            .unwrap_or_else(|error| panic!("{fault:?}: it cannot be continued: {error}"));
        assert_eq!(contents(service).get("user:3").cloned(), Some(bytes("user:3/newer")), "{fault:?}");
    });
}

/// To the keys that the values give.
fn sealing_by_value() -> Rekey<()> {
    rekey_by_value::users().changing(seal)
}

#[test]
fn a_changed_copy_is_withdrawn_when_its_entry_gets_another_key() {
    let service = holding(&[("user_1", "a/x"), ("user_2", "a/y")]);
    let runner = runner(&service, sealing_by_value());
    service.request(&runner).unwrap();
    assert_eq!(keys(&service), ["user:a:1", "user:a:2", "user_1", "user_2"]);
    service.store.insert("user_1", "b/x");
    assert_eq!(left(service.drive(&runner).unwrap()), []);
    let expected = [("user:a:2", "user:a:2/a/y"), ("user:b:1", "user:b:1/b/x")];
    assert_eq!(contents(&service), expected.map(|(key, value)| (key.to_owned(), bytes(value))).into());
}

#[test]
fn an_outdated_changed_copy_that_the_service_has_changed_is_left_and_reported() {
    let service = holding(&[("user_1", "a/x")]);
    let runner = runner(&service, sealing_by_value());
    service.request(&runner).unwrap();
    service.store.insert("user_1", "b/x");
    service.store.insert("user:a:1", "by the service");
    let left = left(service.drive(&runner).unwrap());
    assert_eq!(left.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["user:a:1"]);
    let expected = [("user:a:1", "by the service"), ("user:b:1", "user:b:1/b/x")];
    assert_eq!(contents(&service), expected.map(|(key, value)| (key.to_owned(), bytes(value))).into());
}

#[test]
fn changed_entries_that_change_their_keys_after_a_crash_anywhere_end_at_their_last_ones() {
    for (operations, changes) in [
        (900, &[][..]),
        (900, &[("user_0", "b/x"), ("user_1", "z"), ("user_5", "a/x")]),
        (25, &[("user_0", "b/x"), ("user_1", "z"), ("user_5", "a/x")]),
    ] {
        let holding = || Service::holding(&initial_entries(), operations);
        let faultless = holding();
        faultless.drive(&runner(&faultless, sealing_by_value())).unwrap();
        for at in 0..=faultless.store.operations() {
            for fault in [Fault::Crash(at), Fault::AnswerLost(at), Fault::Refused(at)] {
                let service = holding();
                let faulty = faulty(service.store.clone(), fault);
                let _ = service.drive(&service.runner_on(faulty, vec![migration(sealing_by_value())]));
                for (key, value) in changes {
                    if service.store.value(key).is_some() {
                        service.store.insert(key, *value);
                    }
                }
                let old = contents(&service).into_iter().filter(|(key, _)| key.starts_with("user_"));
                let expected: Vec<(String, Vec<u8>)> = old
                    .map(|(key, value)| {
                        let text = String::from_utf8(value).unwrap();
                        let tenant = text.trim_start_matches('\u{FEFF}').split_once('/').map(|it| it.0);
                        let Some(tenant) = tenant else { return (key, bytes(&text)) };
                        let new = format!("user:{tenant}:{}", key.trim_start_matches("user_"));
                        let sealed = bytes(&format!("{new}/{text}"));
                        (new, sealed)
                    })
                    .collect();
                let reports = service
                    .drive(&runner(&service, sealing_by_value()))
                    .unwrap_or_else(|error| panic!("{fault:?}: it cannot be continued: {error}"));
                assert_eq!(left(reports), [], "{fault:?}");
                let found = contents(&service);
                for (key, value) in expected {
                    assert_eq!(found.get(&key), Some(&value), "{fault:?}: {key}");
                }
                assert_eq!(found.len(), initial_entries().len(), "{fault:?}: {:?}", found.keys());
            }
        }
    }
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-c0-3]{1,3}",
        1 => Just("__proto__".to_owned()),
        1 => "[äöü€𝄞]{1,4}",
        1 => Just("k".repeat(507)),
    ]
}

fn some_entries() -> impl Strategy<Value = Vec<InitialEntry>> {
    let value = prop_oneof![
        3 => "[a-z/0-9]{0,5}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
        1 => Just(vec![b'v'; 3_000]),
        1 => Just("\u{FEFF}{}".as_bytes().to_vec()),
    ];
    let metadata = prop_oneof![2 => Just(None), 1 => Just(Some(r#"{"b":[1,2]}"#))];
    let ttl = prop_oneof![3 => Just(None), 1 => Just(Some(1_000_000))];
    proptest::collection::btree_map(names(), (value, metadata, ttl), 0..40).prop_map(|entries| {
        let entry = |(name, (value, metadata, ttl))| InitialEntry {
            key: format!("user_{name}"),
            value,
            metadata,
            ttl,
        };
        entries.into_iter().map(entry).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_entries_are_changed_once_and_end_as_a_plain_model_says(
        entries in some_entries(),
        page in 1_u32..30,
        operations in 45_u64..100,
        breaks in proptest::collection::vec(0_u64..150, 0..5),
        noise in any::<u64>(),
    ) {
        let model: BTreeMap<String, Vec<u8>> = entries.iter().map(|entry| {
            let new = entry.key.replacen("user_", "user:", 1);
            (new.clone(), [format!("{new}/").as_bytes(), &entry.value].concat())
        }).collect();
        let service = Service::holding(&entries, operations);
        let store = || ShortPages(service.store.clone(), page);
        for at in breaks {
            let _ = service.drive(&service.runner_on(faulty(store(), Fault::Crash(at)), vec![migration(sealing())]));
        }
        let runner = service.runner_on(Flaky::new(store(), noise), vec![migration(sealing())]);
        service.drive(&runner).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(contents(&service), model);
        let moved: Vec<_> = service.store.entries().into_iter().filter(|(key, _)| key.name.starts_with("user:")).map(|(key, _)| key.metadata).collect();
        prop_assert_eq!(moved.iter().flatten().count(), entries.iter().filter(|entry| entry.metadata.is_some()).count());
    }
}
