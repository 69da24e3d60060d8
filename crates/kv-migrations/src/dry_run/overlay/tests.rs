//! An overlay is a store like any other, and nothing reaches the one behind it.

use futures::executor::block_on;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::budget::Budget;
use crate::dry_run::{DryRun, DryRunStores};
use crate::kv::{Expiration, MemoryStore, Metadata, PutOptions, StoreExt};
use crate::testing::ManualClock;
use crate::testing::conformance::CASES;

fn overlay(real: &MemoryStore, clock: &ManualClock) -> (DryRunStores, Arc<dyn Store>) {
    let (store, clock): (Arc<dyn Store>, Arc<dyn Clock>) = (Arc::new(real.clone()), Arc::new(clock.clone()));
    let budget = Budget::default().with_operations(u64::MAX / 2);
    let stores = DryRunStores::new(&store, &clock, budget, "migration_p_".to_owned(), &DryRun::new());
    let own = stores.own();
    (stores, own)
}

#[test]
fn an_overlay_conforms() {
    let clock = ManualClock::starting_at(std::time::UNIX_EPOCH + std::time::Duration::from_hours(400_000));
    let real = MemoryStore::with_clock(clock.clone());
    let (_stores, overlay) = overlay(&real, &clock);
    let differences: Vec<String> =
        CASES.iter().filter_map(|case| block_on(case.run(&overlay)).err()).collect();
    assert!(differences.is_empty(), "{differences:#?}");
    assert_eq!(real.entries(), [], "nothing is written");
}

#[derive(Debug, Clone)]
enum Step {
    Put {
        key: String,
        value: Vec<u8>,
        metadata: Option<String>,
        ttl: Option<u64>,
    },
    Delete {
        key: String,
    },
    Get {
        key: String,
    },
    GetBulk {
        keys: Vec<String>,
    },
    /// All pages, each of at most this many keys.
    List {
        prefix: String,
        limit: u32,
    },
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof!["[ab_]{1,3}", select(vec!["1", "42", "__proto__", "é", "a\u{1}"]).prop_map(str::to_owned)]
}

fn put() -> impl Strategy<Value = Step> {
    let value = prop_oneof![
        ".{0,4}".prop_map(String::into_bytes),
        select(vec![vec![0xFF], vec![0xEF, 0xBB, 0xBF, b'x']])
    ];
    let metadata = proptest::option::of(select(vec!["1", "{\"a\":2}"]).prop_map(str::to_owned));
    (key(), value, metadata, proptest::option::of(60..200_u64))
        .prop_map(|(key, value, metadata, ttl)| Step::Put { key, value, metadata, ttl })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => put(),
        2 => key().prop_map(|key| Step::Delete { key }),
        1 => key().prop_map(|key| Step::Get { key }),
        1 => proptest::collection::vec(key(), 1..6).prop_map(|keys| Step::GetBulk { keys }),
        2 => ("[ab]{0,1}", 1..5_u32).prop_map(|(prefix, limit)| Step::List { prefix, limit }),
    ]
}

/// What a store answers.
fn take(store: &dyn Store, step: &Step) -> String {
    block_on(async {
        match step {
            Step::Put { key, value, metadata, ttl } => {
                let options = PutOptions::new()
                    .with_metadata(metadata.clone().map(Metadata::from_json))
                    .with_expiration(ttl.map(Expiration::After));
                format!("{:?}", store.put(key, value, &options).await)
            }
            Step::Delete { key } => format!("{:?}", store.delete(key).await),
            Step::Get { key } => format!("{:?}", store.get(key).await),
            Step::GetBulk { keys } => {
                let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
                format!("{:?}", store.get_bulk(&keys).await)
            }
            Step::List { prefix, limit } => {
                let (mut keys, mut cursor) = (Vec::new(), None);
                loop {
                    let options = ListOptions::new(prefix).with_cursor(cursor.as_deref()).with_limit(*limit);
                    let page = store.list(options).await.unwrap();
                    assert!(page.keys.len() <= *limit as usize, "{page:?}");
                    keys.extend(page.keys);
                    cursor = page.cursor;
                    if cursor.is_none() {
                        return format!("{keys:?}");
                    }
                }
            }
        }
    })
}

proptest! {
    #[test]
    fn an_overlay_answers_as_a_store_that_was_written_to(
        before in proptest::collection::vec(put(), 0..20),
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let clock = ManualClock::starting_at(std::time::UNIX_EPOCH + std::time::Duration::from_hours(400_000));
        let filled = || {
            let store = MemoryStore::with_clock(clock.clone());
            for step in &before {
                take(&store, step);
            }
            store
        };
        let (real, written) = (filled(), filled());
        let entries = real.entries();
        let (_stores, overlay) = overlay(&real, &clock);
        for step in &steps {
            prop_assert_eq!(take(&*overlay, step), take(&written, step), "{:?}", step);
        }
        prop_assert_eq!(real.entries(), entries);
    }
}
