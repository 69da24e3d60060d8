//! The suite that every store passes.

use std::time::Duration;

use futures::executor::block_on;
use kv_migrations::kv::{MemoryStore, Store};
use kv_migrations::testing::conformance::CASES;
use kv_migrations::testing::{DelayedKv, Fault, VirtualTime, faulty};

use crate::service::start;
use crate::stores::{Mistake, Mistaken, Slow};

fn conforms(store: &dyn Store) {
    let differences: Vec<String> = CASES.iter().filter_map(|case| block_on(case.run(store)).err()).collect();
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn a_memory_store_conforms() {
    conforms(&MemoryStore::new());
}

#[test]
fn a_decorator_without_effect_conforms() {
    conforms(&faulty(MemoryStore::new(), Fault::Refused(u64::MAX)));
}

/// KV takes one write to a key in a second.
#[test]
fn a_delayed_kv_without_delays_conforms() {
    let time = VirtualTime::starting_at(start());
    let kv = DelayedKv::new(MemoryStore::with_clock(time.clone()), time.clone(), Duration::ZERO);
    let store = Slow::new(kv.at(2), &time, Duration::from_secs(1));
    time.run(async {
        for case in CASES {
            case.run(&store).await.unwrap();
        }
    });
}

#[test]
fn the_suite_notices_each_mistake() {
    use Mistake::{ListsBackwards, ListsEverything, LosesMetadata, TakesEmptyForMissing};
    for mistake in [LosesMetadata, ListsEverything, ListsBackwards, TakesEmptyForMissing] {
        let store = Mistaken(MemoryStore::new(), mistake);
        let failed = CASES.iter().any(|case| block_on(case.run(&store)).is_err());
        assert!(failed, "the suite passed although the store {mistake:?}");
    }
}
