//! A re-key that changes entries on their way is cut off anywhere.

use std::collections::BTreeMap;

use kv_migrations::testing::{Fault, faulty};
use proptest::prelude::*;

use crate::rekey_by_value_crashes::initial_entries;
use crate::rekey_changing::{bytes, contents, migration, runner, sealing, sealing_by_value};
use crate::service::{InitialEntry, Service, left};
use crate::stores::{Flaky, ShortPages};

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
