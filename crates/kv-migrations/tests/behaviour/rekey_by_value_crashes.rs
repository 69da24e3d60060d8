//! A re-key whose mapping sees values is cut off anywhere, while values change.

use std::collections::BTreeMap;
use std::time::Duration;

use kv_migrations::kv::MemoryStore;
use kv_migrations::testing::{Fault, faulty};
use kv_migrations::{Rekey, RunReport};
use proptest::prelude::*;

use crate::rekey::{keys, migration};
use crate::rekey_by_value::{copying, delete, reversible_users, users};
use crate::service::{InitialEntry, Service};
use crate::stores::{Flaky, ShortPages};

pub fn initial_entries() -> Vec<InitialEntry> {
    let mut entries: Vec<InitialEntry> = (0..6)
        .map(|n| InitialEntry::new(format!("user_{n}"), if n % 2 == 0 { "a/x" } else { "b/x" }))
        .collect();
    entries.push(InitialEntry {
        metadata: Some(r#"{"a":1}"#),
        ttl: Some(100_000),
        ..InitialEntry::new("user_a", "c/text")
    });
    entries.push(InitialEntry::new("user_mark", "\u{FEFF}a/mark"));
    entries.push(InitialEntry::new("user_none", "x"));
    entries
}

/// Cuts the re-key off at each of its operations; then the service changes some entries, and it is continued.
fn break_off_everywhere(rekey: fn() -> Rekey, operations: u64, change: fn(&MemoryStore)) {
    let run = |service: &Service, fault: Option<Fault>| {
        let migrations = vec![migration(rekey())];
        match fault {
            Some(fault) => {
                service.drive(&service.runner_on(faulty(service.store.clone(), fault), migrations))
            }
            None => service.drive(&service.runner(migrations)),
        }
    };
    let faultless = Service::holding(&initial_entries(), operations);
    run(&faultless, None).unwrap();
    for at in 0..=faultless.store.operations() {
        for fault in [Fault::Crash(at), Fault::AnswerLost(at), Fault::Refused(at)] {
            let service = Service::holding(&initial_entries(), operations);
            let _ = run(&service, Some(fault));
            // Only entries that are there still: the service writes old keys until they are moved.
            let before: Vec<_> = keys(&service);
            change(&service.store);
            for (key, _) in service.store.entries() {
                if key.name.starts_with("user_") && !before.contains(&key.name) {
                    delete(&service, &key.name);
                }
            }
            let expected_old: Vec<(String, Vec<u8>)> = service
                .store
                .entries()
                .into_iter()
                .filter(|(key, _)| key.name.starts_with("user_"))
                .map(|(key, value)| (key.name, value))
                .collect();
            let reports = run(&service, None)
                .unwrap_or_else(|error| panic!("{fault:?}: it cannot be continued: {error}"));
            let details = reports.into_iter().flat_map(|report| report.details);
            let left: Vec<String> =
                details.flat_map(|detail| detail.failed_entries).map(|entry| entry.key).collect();
            // Each entry is at the key that its last value gives, and nowhere else.
            for (old, value) in expected_old {
                let text = String::from_utf8(value).unwrap();
                let new =
                    text.trim_start_matches('\u{FEFF}').split_once('/').map_or(old.clone(), |(tenant, _)| {
                        format!("user:{tenant}:{}", old.trim_start_matches("user_"))
                    });
                assert_eq!(service.text(&new).as_deref(), Some(&*text), "{fault:?}: {old} at {new}");
            }
            let ids: Vec<String> = keys(&service)
                .into_iter()
                .filter(|key| !left.contains(key))
                .map(|key| key.rsplit([':', '_']).next().unwrap_or_default().to_owned())
                .collect();
            let mut unique = ids.clone();
            unique.sort();
            unique.dedup();
            assert_eq!(
                ids.len(),
                unique.len(),
                "{fault:?}: {:?}, of which {left:?} are left",
                keys(&service)
            );
            assert_eq!(unique.len(), initial_entries().len(), "{fault:?}: {:?}", keys(&service));
        }
    }
}

#[test]
fn a_rekey_by_value_that_is_cut_off_anywhere_is_continued() {
    break_off_everywhere(users, 900, |_| ());
    break_off_everywhere(reversible_users, 25, |_| ());
}

#[test]
fn entries_that_change_their_keys_after_a_crash_anywhere_end_at_their_last_ones() {
    let change = |store: &MemoryStore| {
        for (key, value) in [("user_0", "b/x"), ("user_1", "z"), ("user_5", "a/x")] {
            store.insert(key, value);
        }
    };
    break_off_everywhere(reversible_users, 900, change);
    break_off_everywhere(users, 25, change);
}

type MakeRekey = fn() -> Rekey;
type MakeEntries = fn() -> Vec<InitialEntry>;

#[test]
fn the_copying_and_deleting_by_value_that_are_cut_off_anywhere_are_continued() {
    let run = |service: &Service, rekey: Rekey, fault: Option<Fault>| {
        let migrations = vec![migration(rekey)];
        match fault {
            Some(fault) => {
                service.drive(&service.runner_on(faulty(service.store.clone(), fault), migrations))
            }
            None => service.drive(&service.runner(migrations)),
        }
    };
    let copied = || {
        let mut entries = initial_entries();
        entries.extend([InitialEntry::new("user:a:0", "a/newer"), InitialEntry::new("user:b:1", "b/x")]);
        entries
    };
    let parts: [(MakeRekey, MakeEntries); 2] =
        [(copying, initial_entries), (|| users().deleting().copying_missing(), copied)];
    for (rekey, entries) in parts {
        let operations = 25;
        let faultless = Service::holding(&entries(), operations);
        run(&faultless, rekey(), None).unwrap();
        let (needed, expected) = (faultless.store.operations(), faultless.outcome());
        for at in 0..=needed {
            for fault in [Fault::Crash(at), Fault::AnswerLost(at), Fault::Refused(at)] {
                let service = Service::holding(&entries(), operations);
                let _ = run(&service, rekey(), Some(fault));
                service.clock.advance(Duration::from_secs(1));
                run(&service, rekey(), None)
                    .unwrap_or_else(|error| panic!("{fault:?}: it cannot be continued: {error}"));
                assert_eq!(service.outcome(), expected, "{fault:?}");
            }
        }
    }
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => "[ab]/[a-z]{0,2}".prop_map(String::into_bytes),
        1 => "[a-z]{0,3}".prop_map(String::into_bytes),
        1 => Just(b"c/\xff\x00".to_vec()),
        1 => Just("\u{FEFF}a/x".as_bytes().to_vec()),
    ]
}

fn some_entries() -> impl Strategy<Value = Vec<InitialEntry>> {
    let keys = prop_oneof![
        4 => "user_[a-c]{1,2}",
        3 => "user_[0-9]{1,2}",
        1 => Just("user___proto__".to_owned()),
        1 => Just(format!("user_{}", "k".repeat(505))),
    ];
    let metadata = prop_oneof![2 => Just(None), 1 => Just(Some(r#"{"b":[1,2]}"#))];
    let ttl = prop_oneof![3 => Just(None), 1 => Just(Some(1_000_000))];
    proptest::collection::btree_map(keys, (values(), metadata, ttl), 1..25).prop_map(|entries| {
        let entry = |(key, (value, metadata, ttl))| InitialEntry { key, value, metadata, ttl };
        entries.into_iter().map(entry).collect()
    })
}

/// The key that an entry gets.
fn target(old: &str, value: &[u8]) -> String {
    let value = value.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(value);
    match value.iter().position(|byte| *byte == b'/') {
        Some(end) => {
            format!("user:{}:{}", String::from_utf8_lossy(&value[..end]), old.trim_start_matches("user_"))
        }
        None => old.to_owned(),
    }
}

/// The keys that a run has left.
pub fn keys_left(report: RunReport) -> Vec<String> {
    let left = report.details.into_iter().flat_map(|detail| detail.failed_entries);
    left.map(|entry| entry.key).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The model: an entry is at the key that its last value gives, and elsewhere only if that is reported.
    #[test]
    fn any_entries_whose_values_change_between_any_requests_end_at_their_last_keys(
        entries in some_entries(),
        edits in proptest::collection::vec((0_usize..12, 0_usize..25, values()), 0..6),
        is_reversible in any::<bool>(),
        page in 1_u32..30,
        operations in 45_u64..100,
        breaks in proptest::collection::vec(0_u64..120, 0..4),
        noise in any::<u64>(),
    ) {
        let make = || vec![migration(if is_reversible { reversible_users() } else { users() })];
        let mut model: BTreeMap<String, Vec<u8>> =
            entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect();
        let service = Service::holding(&entries, operations);
        let store = || ShortPages(service.store.clone(), page);
        let mut edit = |request: usize| {
            for (_, index, value) in edits.iter().filter(|(at, ..)| *at == request) {
                let old = &entries[index % entries.len()].key;
                // The service writes an old key until the entry is moved. One that stays may have been passed for good.
                if service.store.value(old).is_some_and(|value| target(old, &value) != *old) {
                    service.store.insert(old, value.clone());
                    model.insert(old.clone(), value.clone());
                }
            }
        };
        let (mut requests, mut left, was_cut_off) = (0, Vec::new(), !breaks.is_empty());
        for at in breaks {
            edit(requests);
            requests += 1;
            let runner = service.runner_on(faulty(store(), Fault::Crash(at)), make());
            left.extend(service.drive(&runner).into_iter().flatten().flat_map(keys_left));
        }
        let runner = service.runner_on(Flaky::new(store(), noise), make());
        loop {
            edit(requests);
            requests += 1;
            let report = match service.request(&runner) {
                Ok(report) => report,
                // A copy of a request that was cut off, of an entry that has changed since, is told and left.
                Err(error) if was_cut_off && error.to_string().contains("there is something else") => return Ok(()),
                Err(error) => return Err(TestCaseError::fail(error.to_string())),
            };
            let is_finished = report.is_finished();
            left.extend(keys_left(report));
            if is_finished {
                break;
            }
        }
        let mut found: BTreeMap<String, Vec<u8>> = service.store.entries().into_iter()
            .map(|(key, value)| (key.name, value))
            .filter(|(key, _)| key.starts_with("user"))
            .collect();
        for (old, value) in &model {
            let new = target(old, value);
            let there = found.remove(&new);
            prop_assert_eq!(there.as_ref(), Some(value), "{} at {}", old, new);
        }
        for extra in found.keys() {
            prop_assert!(left.contains(extra), "{extra} is not reported: {left:?}");
        }
    }
}
