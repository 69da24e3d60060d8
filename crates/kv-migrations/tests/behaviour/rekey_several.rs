//! Several old keys with one new key: which of them wins.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use futures::executor::block_on;
use kv_migrations::kv::StoreExt;
use kv_migrations::testing::{Fault, faulty};
use kv_migrations::{BoxError, Collisions, Migration, Record, Rekey};
use proptest::prelude::*;

use crate::rekey::{drive, error, keys, migration};
use crate::service::{InitialEntry, Service, holding, left};
use crate::stores::{Flaky, ShortPages};

pub fn finish(service: &Service, rekey: Rekey) -> Vec<(String, String)> {
    left(service.drive(&service.runner(vec![migration(rekey)])).unwrap())
}

/// To lower case: the entry with the highest number wins.
fn lower_case() -> Rekey {
    let mapping = |key: &kv_migrations::kv::Key| {
        let rest = key.name.strip_prefix("user_")?;
        Some(format!("user:{}", rest.to_lowercase()))
    };
    Rekey::new("user_", mapping).choosing(by_number)
}

fn by_number(a: &Record, b: &Record) -> Result<Ordering, BoxError> {
    Ok(a.json::<u64>()?.cmp(&b.json()?))
}

#[test]
fn of_several_entries_the_chosen_one_is_moved_and_the_others_are_deleted() {
    let service = holding(&[
        ("user_ADA", "1"),
        ("user_Ada", "3"),
        ("user_ada", "2"),
        ("user_bob", "7"),
        ("user_EVE", "5"),
        ("user_eve", "5"),
    ]);
    assert_eq!(finish(&service, lower_case()), []);
    assert_eq!(keys(&service), ["user:ada", "user:bob", "user:eve"]);
    assert_eq!(service.text("user:ada").as_deref(), Some("3"));
}

#[test]
fn of_equals_the_one_whose_old_key_comes_first_is_chosen() {
    let entry =
        |key: &str, metadata| InitialEntry { metadata: Some(metadata), ..InitialEntry::new(key, "1") };
    let service = Service::holding(&[entry("user_A", "1"), entry("user_a", "2")], 900);
    drive(&service, lower_case()).unwrap();
    let metadata =
        service.store.entries().into_iter().find(|(key, _)| key.name == "user:a").unwrap().0.metadata;
    assert_eq!(metadata.unwrap().as_json(), "1");
}

#[test]
fn the_choice_sees_key_and_metadata() {
    let entry =
        |key: &str, metadata| InitialEntry { metadata: Some(metadata), ..InitialEntry::new(key, "x") };
    let service = Service::holding(&[entry("user_A", "[1]"), entry("user_a", "[2]")], 900);
    let rekey = Rekey::new("user_", |key| Some(key.name.replace("user_", "user:").to_lowercase())).choosing(
        |a, b| {
            assert!(a.name() == "user_A" && b.name() == "user_a", "in the order of their keys");
            let number = |record: &Record| record.metadata().and_then(|it| it.parse::<[u8; 1]>().ok());
            Ok(number(a).cmp(&number(b)))
        },
    );
    drive(&service, rekey).unwrap();
    assert_eq!(
        service
            .store
            .entries()
            .into_iter()
            .find(|(key, _)| key.name == "user:a")
            .unwrap()
            .0
            .metadata
            .unwrap()
            .as_json(),
        "[2]"
    );
}

#[test]
fn an_error_of_the_choice_fails_before_anything_is_written() {
    let service = holding(&[("user_A", "1"), ("user_a", "no number")]);
    let error = error(&service, lower_case());
    assert!(error.contains("at the entry `user_a`"), "{error}");
    assert!(!error.contains("no number"), "a value is nobody else's: {error}");
    assert_eq!(keys(&service), ["user_A", "user_a"]);
}

#[test]
fn an_entry_that_was_not_chosen_is_deleted_only_after_the_chosen_one_is_moved() {
    let service = holding(&[("user_A", "1"), ("user_a", "2")]);
    let runner = service.runner(vec![migration(lower_case())]);
    let mut seen = Vec::new();
    loop {
        let report = service.request(&runner).unwrap();
        seen.push(keys(&service));
        if report.is_finished() {
            break;
        }
    }
    assert_eq!(seen, [vec!["user:a", "user_A", "user_a"], vec!["user:a", "user_A"], vec!["user:a"]]);
}

#[test]
fn an_entry_that_was_not_chosen_and_has_changed_since_is_left_and_told() {
    let service = holding(&[("user_A", "1"), ("user_a", "2")]);
    let runner = service.runner(vec![migration(lower_case())]);
    service.request(&runner).unwrap();
    service.store.insert("user_A", "9");
    let left = left(service.drive(&runner).unwrap());
    assert_eq!(keys(&service), ["user:a", "user_A"]);
    assert_eq!(
        left,
        [(
            "user_A".to_owned(),
            "was left: it has changed since another entry was chosen for its new key `user:a`".to_owned()
        )]
    );
}

#[test]
fn an_entry_that_was_not_chosen_is_left_where_the_chosen_one_is_gone() {
    let service = holding(&[("user_A", "1"), ("user_a", "2")]);
    let runner = service.runner(vec![migration(lower_case())]);
    service.request(&runner).unwrap();
    for key in ["user_a", "user:a"] {
        block_on(service.store.delete(key)).unwrap();
    }
    let left = left(service.drive(&runner).unwrap());
    assert_eq!(keys(&service), ["user_A"]);
    assert_eq!(left[0].1, "was left: it lost its new key `user:a` to `user_a`, which is not there");
}

#[test]
fn what_stands_at_the_new_key_is_a_collision_for_all_that_are_to_be_chosen_from() {
    let entries = [("user:a", "0"), ("user_A", "1"), ("user_a", "2")];
    let service = holding(&entries);
    let error = error(&service, lower_case());
    assert!(error.contains("2 of the entries cannot have their new keys"), "{error}");
    let service = holding(&entries);
    drive(&service, lower_case().with_collisions(Collisions::KeepNew)).unwrap();
    assert_eq!((keys(&service), service.text("user:a").as_deref()), (vec!["user:a".to_owned()], Some("0")));
}

#[test]
fn copying_copies_the_chosen_ones_alone_and_deleting_deletes_all() {
    let service = holding(&[("user_A", "1"), ("user_a", "2"), ("user_b", "3")]);
    drive(&service, lower_case().copying()).unwrap();
    assert_eq!(keys(&service), ["user:a", "user:b", "user_A", "user_a", "user_b"]);
    assert_eq!(service.text("user:a").as_deref(), Some("2"));
    service.migrate(vec![Migration::rekey("deleting", "", lower_case().deleting())]);
    assert_eq!(keys(&service), ["user:a", "user:b"]);
}

#[test]
fn a_rollback_restores_the_chosen_ones() {
    let service = holding(&[("user_A", "1"), ("user_a", "2")]);
    let rekey = lower_case().with_inverse("user:", |key| Some(key.name.replace("user:", "user_")));
    let runner = service.runner(vec![migration(rekey)]);
    service.drive(&runner).unwrap();
    service.roll_back(&runner).unwrap();
    assert_eq!((keys(&service), service.text("user_a").as_deref()), (vec!["user_a".to_owned()], Some("2")));
}

#[test]
fn too_many_entries_with_shared_keys_are_refused_before_anything_is_written() {
    let entries: Vec<InitialEntry> =
        (0..2_200).map(|n| InitialEntry::new(format!("user_{n:0400}"), "1")).collect();
    let service = Service::holding(&entries, 100_000);
    let rekey = Rekey::new("user_", |_| Some("k".repeat(300))).choosing(by_number);
    let error = error(&service, rekey);
    assert!(error.contains("Split the re-key, by longer prefixes"), "{error}");
    assert_eq!(keys(&service).len(), 2_200);
}

/// Names of one letter in both cases, twice: many share a new key.
fn names() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[aAbB]{1,3}", 1 => "[äÄ]{1,2}", 1 => "[0-9]{1,2}", 1 => Just("__proto__".to_owned())]
}

fn some_entries() -> impl Strategy<Value = Vec<InitialEntry>> {
    let metadata = prop_oneof![2 => Just(None), 1 => Just(Some("[1]"))];
    let ttl = prop_oneof![3 => Just(None), 1 => Just(Some(1_000_000))];
    let of_prefix = |prefix: &'static str| {
        let rest = (0_u32..40, metadata.clone(), ttl.clone());
        proptest::collection::btree_map(names(), rest, 0..25).prop_map(move |entries| {
            let entry = |(name, (value, metadata, ttl)): (String, (u32, _, _))| InitialEntry {
                key: format!("{prefix}{name}"),
                value: value.to_string().into_bytes(),
                metadata,
                ttl,
            };
            entries.into_iter().map(entry).collect::<Vec<_>>()
        })
    };
    (of_prefix("user_"), of_prefix("user:")).prop_map(|(old, new)| [old, new].concat())
}

/// What is to become of them, by a plain model: the keys, with the values.
fn model(entries: &[InitialEntry], collisions: Collisions) -> BTreeMap<String, Vec<u8>> {
    let mut result: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut movers: BTreeMap<String, Vec<&InitialEntry>> = BTreeMap::new();
    for entry in entries {
        match entry.key.strip_prefix("user_") {
            Some(rest) => movers.entry(format!("user:{}", rest.to_lowercase())).or_default().push(entry),
            None => drop(result.insert(entry.key.clone(), entry.value.clone())),
        }
    }
    let number = |entry: &InitialEntry| String::from_utf8_lossy(&entry.value).parse::<u64>().unwrap();
    for (new, mut candidates) in movers {
        let at_new = entries.iter().find(|entry| entry.key == new);
        if let Some(at_new) = at_new {
            let same =
                |entry: &InitialEntry| entry.value == at_new.value && entry.metadata == at_new.metadata;
            if collisions == Collisions::Skip {
                for entry in candidates.iter().filter(|entry| !same(entry)) {
                    result.insert(entry.key.clone(), entry.value.clone());
                }
            }
            candidates.retain(|entry| same(entry));
        }
        // The greatest, and the first one of equals.
        let greatest = candidates.into_iter().rev().max_by_key(|entry| number(entry));
        if let Some(entry) = greatest {
            result.insert(new, entry.value.clone());
        }
    }
    result
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_entries_that_share_new_keys_end_as_a_plain_model_says(
        entries in some_entries(),
        keeps_new in any::<bool>(),
        page in 1_u32..30,
        operations in 45_u64..100,
        breaks in proptest::collection::vec(0_u64..150, 0..5),
        noise in any::<u64>(),
    ) {
        let collisions = if keeps_new { Collisions::KeepNew } else { Collisions::Skip };
        let make = || migration(lower_case().with_collisions(collisions));
        let service = Service::holding(&entries, operations);
        let store = || ShortPages(service.store.clone(), page);
        for at in breaks {
            let _ = service.drive(&service.runner_on(faulty(store(), Fault::Crash(at)), vec![make()]));
        }
        let runner = service.runner_on(Flaky::new(store(), noise), vec![make()]);
        service.drive(&runner).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let outcome: BTreeMap<String, Vec<u8>> =
            service.store.entries().into_iter().map(|(key, value)| (key.name, value)).filter(|(key, _)| !key.starts_with("migration_")).collect();
        prop_assert_eq!(outcome, model(&entries, collisions));
    }
}
