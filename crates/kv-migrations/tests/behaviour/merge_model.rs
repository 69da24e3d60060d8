//! Any merge of a fold into any entries, against a plain model.

use std::collections::BTreeMap;

use kv_migrations::testing::{Fault, faulty};
use kv_migrations::{Fold, FoldOutput, Migration};
use proptest::prelude::*;

use crate::crashes::some_entries;
use crate::service::{InitialEntry, Service};
use crate::stores::{Flaky, ShortPages};

/// What KV holds after the fold, by a model that knows nothing of requests.
fn model(
    entries: &[InitialEntry],
    merges: &BTreeMap<String, Merge>,
) -> BTreeMap<String, (Vec<u8>, Option<String>, bool)> {
    let mut all: BTreeMap<String, (Vec<u8>, Option<String>, bool)> = entries
        .iter()
        .map(|entry| {
            (entry.key.clone(), (entry.value.clone(), entry.metadata.map(str::to_owned), entry.ttl.is_some()))
        })
        .collect();
    let users: Vec<u8> = entries
        .iter()
        .filter(|entry| entry.key.starts_with("user_"))
        .flat_map(|entry| [entry.key.as_bytes(), &entry.value].concat())
        .collect();
    let before = all.clone();
    for (key, merge) in merges {
        let old = before.get(key).cloned().unwrap_or_default();
        match merge {
            Merge::Delete => drop(all.remove(key)),
            Merge::Append => drop(all.insert(key.clone(), ([old.0, users.clone()].concat(), old.1, old.2))),
            Merge::Replace => drop(all.insert(key.clone(), (users.clone(), Some("[7]".to_owned()), false))),
            Merge::Copy(from) => {
                let value = before.get(from).map(|from| from.0.clone()).unwrap_or_default();
                all.insert(key.clone(), (value, old.1, false));
            }
        }
    }
    all
}

/// What a closing step does with a key.
#[derive(Debug, Clone)]
enum Merge {
    Delete,
    /// Appends to what is there, and keeps the rest.
    Append,
    Replace,
    /// Takes the value of another key.
    Copy(String),
}

/// Gathers all bytes of all users, and merges them into some keys.
fn merging(merges: BTreeMap<String, Merge>) -> Vec<Migration> {
    let fold = Fold::merging(
        "user_",
        Vec::new,
        |users: &mut Vec<u8>, record, ()| {
            users.extend([record.name().as_bytes(), record.value()].concat());
            Ok(())
        },
        async move |kv, users, ()| {
            let mut outputs = Vec::new();
            for (key, merge) in &merges {
                let old = kv.bytes(key).await?.unwrap_or_default();
                outputs.push(match merge {
                    Merge::Delete => FoldOutput::delete(key),
                    Merge::Append => {
                        FoldOutput::new(key, [&*old, users].concat()).keep_metadata().keep_expiration()
                    }
                    Merge::Replace => FoldOutput::new(key, users.clone()).with_metadata(&[7])?,
                    Merge::Copy(from) => {
                        FoldOutput::new(key, kv.bytes(from).await?.unwrap_or_default()).keep_metadata()
                    }
                });
            }
            Ok(outputs)
        },
    );
    vec![Migration::fold("long", "", fold)]
}

fn merges() -> impl Strategy<Value = BTreeMap<String, Merge>> {
    let key = || prop_oneof![2 => "user_[a-c]{1,2}", 1 => "user_[0-9]", 1 => "[a-z]", 1 => "[0-9]", 1 => "[äöü€𝄞]{1,3}"];
    let merge = prop_oneof![
        Just(Merge::Delete),
        Just(Merge::Append),
        Just(Merge::Replace),
        key().prop_map(Merge::Copy),
    ];
    proptest::collection::btree_map(key(), merge, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_merge_ends_as_a_plain_model_says(
        entries in some_entries(),
        merges in merges(),
        page in 1_u32..30,
        operations in 45_u64..100,
        breaks in proptest::collection::vec(0_u64..120, 0..5),
        noise in any::<u64>(),
    ) {
        // A bulk get of the values of users loses a byte order mark; and nothing expires on the way.
        let mut entries = entries;
        entries.retain(|entry| !entry.value.starts_with(b"\xEF\xBB\xBF"));
        for entry in &mut entries {
            entry.ttl = entry.ttl.map(|ttl| ttl + 1_000_000);
        }
        let service = Service::holding(&entries, operations);
        let store = || ShortPages(service.store.clone(), page);
        for at in breaks {
            let _ = service.drive(&service.runner_on(faulty(store(), Fault::Crash(at)), merging(merges.clone())));
        }
        let runner = service.runner_on(Flaky::new(store(), noise), merging(merges.clone()));
        service.drive(&runner).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let after: BTreeMap<_, _> = service.store.entries().into_iter()
            .filter(|(key, _)| !key.name.starts_with("migration_"))
            .map(|(key, value)| (key.name, (value, key.metadata.map(|m| m.as_json().to_owned()), key.expiration.is_some())))
            .collect();
        prop_assert_eq!(after, model(&entries, &merges));
    }
}
