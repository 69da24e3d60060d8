//! The suite that every store passes.

use futures::executor::block_on;
use kv_migrations::kv::conformance::CASES;
use kv_migrations::kv::{Fault, MemoryStore, Store, faulty};

fn conforms(store: &dyn Store) {
    let differences: Vec<String> = CASES.iter().filter_map(|case| block_on(case.run(store)).err()).collect();
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn memory_conforms() {
    conforms(&MemoryStore::new());
}

#[test]
fn a_decorator_that_does_nothing_changes_nothing() {
    conforms(&faulty(MemoryStore::new(), Fault::Refused(u64::MAX)));
}

#[test]
fn the_suite_notices_a_store_that_does_not_conform() {
    for operation in 0..10 {
        let store = faulty(MemoryStore::new(), Fault::Refused(operation));
        let failed = CASES.iter().any(|case| block_on(case.run(&store)).is_err());
        assert!(failed, "the suite passed although operation {operation} failed");
    }
}
