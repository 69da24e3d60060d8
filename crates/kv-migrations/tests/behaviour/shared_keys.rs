//! Entries that read and write one key at the same time, as they may in KV.

use std::sync::{Arc, Mutex};

use futures::executor::block_on;
use kv_migrations::kv::{MemoryStore, PutOptions, StoreExt};
use kv_migrations::{Backfill, Migration};

use crate::service::{Service, filled, ids};

/// Counts entries in a key that all of them share.
fn counting() -> Backfill {
    Backfill::new("user_", async |kv, _, ()| {
        let count: u64 = kv.json("count").await?.unwrap_or(0);
        Ok(kv.put_json("count", &(count + 1)).await?)
    })
}

fn count(service: &Service, backfill: Backfill) -> u64 {
    assert_eq!(service.migrate(vec![Migration::backfill("001", "", backfill)]), ids(&["001"]));
    service.text("count").and_then(|count| count.parse().ok()).unwrap_or(0)
}

#[test]
fn a_test_in_memory_shows_that_entries_lose_updates_of_a_key_that_they_share() {
    let counted = count(&filled(60), counting());
    assert!(counted < 60, "in KV, {counted} of 60 would be too many: the test store is kinder");
}

#[test]
fn one_at_a_time_entries_lose_no_update_of_a_key_that_they_share() {
    assert_eq!(count(&filled(250), counting().one_at_a_time()), 250);
}

#[test]
fn one_at_a_time_an_entry_begins_when_the_one_before_has_ended() {
    let service = filled(40);
    let steps = Arc::<Mutex<Vec<String>>>::default();
    let shared = steps.clone();
    let backfill = Backfill::new("user_", async move |kv, record, ()| {
        shared.lock().unwrap().push(format!("begin {}", record.name()));
        kv.put("elsewhere", record.name()).await?;
        shared.lock().unwrap().push(format!("end {}", record.name()));
        Ok(())
    });
    service.migrate(vec![Migration::backfill("001", "", backfill.one_at_a_time())]);
    let expected = (0..40).flat_map(|n| ["begin", "end"].map(|what| format!("{what} user_{n:05}")));
    assert_eq!(*steps.lock().unwrap(), expected.collect::<Vec<_>>());
}

#[test]
fn operations_in_memory_take_effect_after_other_work_went_on() {
    let store = MemoryStore::new();
    let options = PutOptions::new();
    let (_, seen) = block_on(async { futures::join!(store.put("key", b"1", &options), store.get("key")) });
    assert!(seen.unwrap().is_some(), "operations take effect in the order in which they were sent");
    let order = Mutex::new(Vec::new());
    block_on(async {
        let operation = async {
            store.get("key").await.unwrap();
            order.lock().unwrap().push("operation");
        };
        futures::join!(operation, async { order.lock().unwrap().push("other work") });
    });
    assert_eq!(*order.lock().unwrap(), ["other work", "operation"]);
}
