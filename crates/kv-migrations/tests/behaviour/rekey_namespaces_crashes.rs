//! A re-key from one namespace into another is cut off anywhere, in either of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use kv_migrations::kv::{Key, Store};
use kv_migrations::testing::{Fault, faulty};
use kv_migrations::{Migration, MovingEntry, Rekey};
use proptest::prelude::*;

use crate::rekey_namespaces::data;
use crate::service::{InitialEntry, Service};
use crate::stores::{Flaky, ShortPages};

const NEVER: Fault = Fault::Crash(u64::MAX);

type Contents = Vec<(Key, Vec<u8>)>;

/// A migration for the namespace that is not the service's own.
type Make = fn(Arc<dyn Store>) -> Migration;

fn all() -> Rekey {
    Rekey::prefix("", "")
}

/// The entries of another namespace into the service's own, under the same keys.
fn from_old(old: Arc<dyn Store>) -> Migration {
    Migration::rekey("long", "", all().in_namespace(old))
}

fn into_new(new: Arc<dyn Store>) -> Migration {
    Migration::rekey("long", "", all().into_namespace(new))
}

fn copying(old: Arc<dyn Store>) -> Migration {
    Migration::rekey("long", "", all().in_namespace(old).copying())
}

fn deleting(old: Arc<dyn Store>) -> Migration {
    Migration::rekey("long", "", all().in_namespace(old).copying_missing())
}

/// The new key depends on the value. It is the old one for some; what would have too long a key stays.
fn by_value(old: Arc<dyn Store>) -> Migration {
    let rekey = Rekey::by_value("", |entry| {
        let (name, is_even) = (entry.name(), entry.value().len().is_multiple_of(2));
        let new = if is_even { name.to_owned() } else { format!("{name}.") };
        Ok((new.len() <= 512).then_some(new))
    });
    Migration::rekey("long", "", rekey.in_namespace(old))
}

fn changing(new: Arc<dyn Store>) -> Migration {
    let rekey = all().into_namespace(new).changing(async |entry: MovingEntry, _, (): &()| {
        let value = [entry.value(), b"+"].concat();
        Ok(entry.with_value(value))
    });
    Migration::rekey("long", "", rekey)
}

/// Those, and whether it moves entries into that namespace, not out of it.
const MIGRATIONS: [(Make, bool); 6] = [
    (from_old, false),
    (into_new, true),
    (copying, false),
    (by_value, false),
    (changing, true),
    (deleting, false),
];

/// A service with these entries in its own namespace, or in another one.
fn begin(is_into: bool, entries: &[InitialEntry], operations: u64) -> (Service, Service) {
    let service = Service::holding(if is_into { entries } else { &[] }, operations);
    let other = service.elsewhere(if is_into { &[] } else { entries });
    (service, other)
}

/// Both namespaces without markers.
fn outcome(service: &Service, other: &Service) -> [Contents; 2] {
    [data(service), data(other)]
}

fn some_entries_for_crashes() -> Vec<InitialEntry> {
    vec![
        InitialEntry { metadata: Some("1"), ttl: Some(100_000), ..InitialEntry::new("42", "x") },
        InitialEntry::new("__proto__", ""),
        InitialEntry::new("bytes", [0xff, 0x00]),
        InitialEntry::new("user_1", "Ada"),
        InitialEntry::new("user_2", "\u{FEFF}Bob"),
    ]
}

#[test]
fn a_move_that_is_cut_off_at_any_operation_in_either_namespace_is_continued() {
    for (number, (make, is_into)) in MIGRATIONS.into_iter().enumerate() {
        let run = |faults: [Fault; 2]| {
            let (service, other) = begin(is_into, &some_entries_for_crashes(), 18);
            let [own_fault, other_fault] = faults;
            let cut_off = service.runner_on(
                faulty(service.store.clone(), own_fault),
                vec![make(Arc::new(faulty(other.store.clone(), other_fault)))],
            );
            let is_cut_off = service.drive(&cut_off).is_err();
            let runner = service.runner(vec![make(Arc::new(other.store.clone()))]);
            service
                .drive(&runner)
                .unwrap_or_else(|error| panic!("{number} {faults:?}: it cannot be continued: {error}"));
            (is_cut_off, outcome(&service, &other))
        };
        let (_, expected) = run([NEVER, NEVER]);
        for kind in [Fault::Crash, Fault::AnswerLost, Fault::Refused] {
            for is_other in [false, true] {
                for at in 0.. {
                    let fault = kind(at);
                    let (is_cut_off, outcome) = run(if is_other { [NEVER, fault] } else { [fault, NEVER] });
                    assert_eq!(outcome, expected, "{number} {fault:?}, in the other one: {is_other}");
                    if !is_cut_off && at > 12 {
                        break;
                    }
                }
            }
        }
    }
}

#[test]
fn a_rollback_that_is_cut_off_at_any_operation_in_either_namespace_is_continued() {
    for (make, is_into) in MIGRATIONS.into_iter().take(3) {
        let run = |faults: [Fault; 2]| {
            let (service, other) = begin(is_into, &some_entries_for_crashes(), 18);
            let runner = service.runner(vec![make(Arc::new(other.store.clone()))]);
            service.drive(&runner).expect("it is applied");
            let [own_fault, other_fault] = faults;
            let cut_off = service.runner_on(
                faulty(service.store.clone(), own_fault),
                vec![make(Arc::new(faulty(other.store.clone(), other_fault)))],
            );
            let is_cut_off = service.roll_back(&cut_off).is_err();
            // If it was done, and only its answer was lost, there is nothing more to roll back.
            if service.store.value("migration_my-service_long").is_some() {
                service
                    .roll_back(&runner)
                    .unwrap_or_else(|error| panic!("{faults:?}: it cannot be continued: {error}"));
            }
            (is_cut_off, outcome(&service, &other))
        };
        let (_, expected) = run([NEVER, NEVER]);
        for kind in [Fault::Crash, Fault::AnswerLost] {
            for is_other in [false, true] {
                for at in 0.. {
                    let fault = kind(at);
                    let (is_cut_off, outcome) = run(if is_other { [NEVER, fault] } else { [fault, NEVER] });
                    assert_eq!(outcome, expected, "{fault:?}, in the other one: {is_other}");
                    if !is_cut_off && at > 12 {
                        break;
                    }
                }
            }
        }
    }
}

/// Hard keys and values.
fn some_entries() -> impl Strategy<Value = Vec<InitialEntry>> {
    let key = prop_oneof![
        3 => "user_[a-c]{1,2}",
        2 => "[0-9]{1,2}",
        1 => Just("__proto__".to_owned()),
        1 => "migration_[a-c]{1,2}",
        1 => Just("migration_my-service_left".to_owned()),
        1 => Just("k".repeat(512)),
        1 => "[äö€]{1,3}",
    ];
    let value = prop_oneof![
        3 => "[a-z]{0,3}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
        1 => Just("\u{FEFF}x".as_bytes().to_vec()),
        1 => Just(vec![b'v'; 3_000]),
    ];
    let metadata = prop_oneof![2 => Just(None), 1 => Just(Some(r#"{"b":[1,2]}"#)), 1 => Just(Some("null"))];
    let ttl = prop_oneof![3 => Just(None), 1 => Just(Some(1_000_000))];
    proptest::collection::btree_map(key, (value, metadata, ttl), 0..30).prop_map(|entries| {
        let entry = |(key, (value, metadata, ttl))| InitialEntry { key, value, metadata, ttl };
        entries.into_iter().map(entry).collect()
    })
}

/// What a migration does to an entry: where it is at the end, in the namespace of the new keys; `None` if it stays.
fn model(which: usize, key: &str, value: &[u8]) -> Option<(String, Vec<u8>)> {
    let is_into = which == 1 || which == 4;
    // The service's own namespace may have markers of others, too.
    if key.starts_with(if is_into { "migration_" } else { "migration_my-service_" }) {
        return None;
    }
    match which {
        3 if value.len().is_multiple_of(2) => Some((key.to_owned(), value.to_vec())),
        3 if key.len() == 512 => None,
        3 => Some((format!("{key}."), value.to_vec())),
        4 => Some((key.to_owned(), [value, b"+"].concat())),
        _ => Some((key.to_owned(), value.to_vec())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is cut off, in either namespace, each entry is where a plain loop would move it, with all that it has.
    #[test]
    fn any_entries_end_in_the_other_namespace_as_a_plain_loop_would_move_them(
        entries in some_entries(),
        which in 0_usize..5,
        page in 1_u32..20,
        operations in 45_u64..90,
        breaks in proptest::collection::vec((0_u64..120, any::<bool>()), 0..4),
        noise in any::<u64>(),
    ) {
        let (make, is_into) = MIGRATIONS[which];
        // A bulk get leaves a byte order mark out, and the length with it.
        let entries: Vec<_> = entries.into_iter()
            .filter(|entry| which != 3 || !entry.value.starts_with("\u{FEFF}".as_bytes()))
            .collect();
        let (service, other) = begin(is_into, &entries, operations);
        let before = if is_into { service.store.entries() } else { other.store.entries() };

        let store = || ShortPages(other.store.clone(), page);
        for (at, is_other) in breaks {
            let (own_fault, other_fault) =
                if is_other { (NEVER, Fault::Crash(at)) } else { (Fault::Crash(at), NEVER) };
            let runner = service.runner_on(
                faulty(ShortPages(service.store.clone(), page), own_fault),
                vec![make(Arc::new(faulty(store(), other_fault)))],
            );
            let _ = service.drive(&runner);
        }
        let own = Flaky::new(ShortPages(service.store.clone(), page), noise);
        let runner = service.runner_on(own, vec![make(Arc::new(Flaky::new(store(), !noise)))]);
        service.drive(&runner).map_err(|error| TestCaseError::fail(error.to_string()))?;

        let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
        for (key, value) in before {
            let moved = model(which, &key.name, &value);
            if moved.is_none() || which == 2 {
                old.insert(key.name.clone(), (key.clone(), value.clone()));
            }
            if let Some((name, value)) = moved {
                let mut moved = key;
                moved.name.clone_from(&name);
                new.insert(name, (moved, value));
            }
        }
        let contents = |it: &Service| -> BTreeMap<String, (Key, Vec<u8>)> {
            let entries = it.store.entries().into_iter().filter(|(key, _)| key.name != "migration_my-service_long");
            entries.map(|(key, value)| (key.name.clone(), (key, value))).collect()
        };
        let (old_now, new_now) =
            if is_into { (contents(&service), contents(&other)) } else { (contents(&other), contents(&service)) };
        prop_assert_eq!(new_now, new);
        prop_assert_eq!(old_now, old);
    }
}
