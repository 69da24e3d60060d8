//! A backfill that works in batches, mostly to copy entries out of KV.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures::executor::block_on;
use kv_migrations::kv::{Answer, KvError, MemoryStore, Request, Store, StoreExt};
use kv_migrations::testing::{Fault, faulty};
use kv_migrations::{Backfill, BoxFuture, Migration};
use proptest::prelude::*;

use crate::service::{InitialEntry, Service, failure, filled, marked};
use crate::stores::{EmptyPages, Refusing, ShortPages};

/// What is not KV: rows, and the batches in which they came.
#[derive(Clone, Default)]
struct Database(Arc<Mutex<Contents>>);

#[derive(Default)]
struct Contents {
    rows: BTreeMap<String, Vec<u8>>,
    batches: Vec<Vec<String>>,
    /// The keys of which it takes no row. A batch with one of them is not inserted at all.
    refused: BTreeSet<&'static str>,
}

impl Database {
    fn insert(&self, batch: Vec<(String, Vec<u8>)>) -> Result<(), String> {
        let mut rows = self.0.lock().unwrap();
        rows.batches.push(batch.iter().map(|(key, _)| key.clone()).collect());
        if batch.iter().any(|(key, _)| rows.refused.contains(key.as_str())) {
            return Err("UNIQUE constraint failed".to_owned());
        }
        rows.rows.extend(batch);
        Ok(())
    }

    fn refuse(&self, keys: impl IntoIterator<Item = &'static str>) {
        self.0.lock().unwrap().refused = keys.into_iter().collect();
    }

    fn rows(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.lock().unwrap().rows.clone()
    }

    /// The sizes of the batches since this was asked.
    fn take_sizes(&self) -> Vec<usize> {
        std::mem::take(&mut self.0.lock().unwrap().batches).iter().map(Vec::len).collect()
    }

    fn copying(&self, size: usize) -> Backfill {
        let database = self.clone();
        Backfill::in_batches("user_", size, async move |_, records, ()| {
            let row = |record: &kv_migrations::Record| (record.name().to_owned(), record.value().to_vec());
            Ok(database.insert(records.iter().map(row).collect())?)
        })
    }
}

fn migration(backfill: Backfill) -> Vec<Migration> {
    vec![Migration::backfill("long", "", backfill)]
}

#[test]
fn each_entry_comes_in_one_batch_and_a_batch_is_no_larger_than_it_may_be() {
    let (service, database) = (filled(2_350), Database::default());
    let report = block_on(service.runner(migration(database.copying(200))).run_pending(&())).unwrap();
    assert!(report.is_finished());
    // A page has 1,000 keys.
    assert_eq!(database.take_sizes(), [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 150]);
    assert_eq!(database.rows().len(), 2_350);
    // 3 lists to count and 3 to walk, 24 reads in bulk, a few for the markers.
    assert!(report.operations < 40, "{} operations", report.operations);
    let entries = report.details[0].entries.unwrap();
    assert_eq!((entries.seen, entries.changed, report.warnings.len()), (2_350, 0, 0));
}

#[test]
fn batches_of_some_keys_alone_read_no_value() {
    let (service, database) = (filled(1_000), Database::default());
    let backfill = database.copying(60).only(|key| key.name.ends_with('7')).keys_only();
    let report = block_on(service.runner(migration(backfill)).run_pending(&())).unwrap();
    assert_eq!(database.take_sizes(), [60, 40]);
    assert!(database.rows().values().all(Vec::is_empty), "they are not read");
    assert!(report.operations < 10, "{} operations", report.operations);
}

#[test]
fn a_batch_has_no_more_bytes_than_it_may_have() {
    let (service, database) = (Service::new(), Database::default());
    for number in 0..30 {
        let length = if number == 7 { 5_000 } else { 300 };
        service.store.insert(&format!("user_{number:02}"), "v".repeat(length));
    }
    let backfill = database.copying(10).with_batch_bytes(1_000);
    service.migrate(migration(backfill));
    assert_eq!(database.rows().len(), 30);
    let batches = database.0.lock().unwrap().batches.clone();
    for batch in batches {
        let is_alone = batch == ["user_07"];
        assert!(is_alone || batch.len() <= 3 && !batch.contains(&"user_07".to_owned()), "{batch:?}");
    }
}

#[test]
fn values_that_are_too_large_to_be_read_in_bulk_come_in_batches_too() {
    let (service, database) = (Service::new(), Database::default());
    for number in 0..10 {
        service.store.insert(&format!("user_{number}"), vec![b'v'; 3_000_000]);
    }
    service.migrate(migration(database.copying(10).with_batch_bytes(7_000_000)));
    assert_eq!(database.take_sizes(), [2, 2, 2, 2, 2]);
}

#[test]
fn a_batch_that_fails_names_its_keys_and_the_next_run_resumes_with_it() {
    let (service, database) = (filled(40), Database::default());
    database.refuse(["user_00013"]);
    let runner = service.runner(migration(database.copying(10)));
    let failed = failure(block_on(runner.run_pending(&())));
    assert_eq!(
        failed.reason,
        "at the batch of 10 entries from `user_00010` to `user_00019`: UNIQUE constraint failed"
    );
    assert_eq!(database.take_sizes(), [10, 10]);
    database.refuse([]);
    service.migrate(migration(database.copying(10)));
    assert_eq!(database.take_sizes(), [10, 10, 10], "only those from the failed one on");
    assert_eq!(database.rows().len(), 40);
}

#[test]
fn a_batch_of_one_entry_that_fails_names_the_entry() {
    let (service, database) = (filled(3), Database::default());
    database.refuse(["user_00002"]);
    let failed = failure(block_on(service.runner(migration(database.copying(1))).run_pending(&())));
    assert_eq!(failed.reason, "at the entry `user_00002`: UNIQUE constraint failed");
}

#[test]
fn where_failures_are_skipped_the_entries_of_a_failed_batch_are_tried_one_by_one() {
    let (service, database) = (filled(30), Database::default());
    database.refuse(["user_00013", "user_00017"]);
    let make = || migration(database.copying(10).skip_failures(5));
    let failed = failure(block_on(service.runner(make()).run_pending(&())));
    assert!(
        failed.reason.starts_with(
            "2 of the entries failed and were skipped: `user_00013`: UNIQUE constraint failed; `user_00017`: UNIQUE \
             constraint failed. All other entries are done"
        ),
        "{failed}"
    );
    assert_eq!(database.take_sizes(), [[10, 10].as_slice(), &[1; 10], &[10]].concat());
    assert_eq!(database.rows().len(), 28);
    database.refuse([]);
    service.migrate(make());
    assert_eq!(
        (database.take_sizes(), database.rows().len()),
        (vec![1, 1], 30),
        "the next run tries these again"
    );
}

#[test]
fn more_failures_in_batches_than_may_be_skipped_fail_the_backfill() {
    let (service, database) = (filled(30), Database::default());
    database.refuse(["user_00003", "user_00013", "user_00014"]);
    let backfill = database.copying(10).skip_failures(2).apply_despite_failures();
    let failed = failure(block_on(service.runner(migration(backfill)).run_pending(&())));
    assert_eq!(
        failed.reason,
        "at the entry `user_00014`, after 2 others that were skipped: UNIQUE constraint failed"
    );
    let backfill = database.copying(10).skip_failures(3).apply_despite_failures();
    let report = block_on(service.runner(migration(backfill)).run_pending(&())).unwrap();
    assert_eq!((report.details[0].failed_entries.len(), database.rows().len()), (3, 27));
}

#[test]
fn a_batch_that_kv_failed_is_no_failure_of_its_entries() {
    let service = filled(30);
    let make = || {
        let backfill = Backfill::in_batches("user_", 10, async |kv, records, ()| {
            for record in records {
                kv.put(&format!("copy_{}", record.name()), record.value()).await.map_err(|_| "not copied")?;
            }
            Ok(())
        });
        migration(backfill.skip_failures(100).apply_despite_failures())
    };
    let refuses = |request: Request<'_>| matches!(request, Request::Put { key: "copy_user_00013", .. });
    let store = Refusing { store: service.store.clone(), refuses };
    let failed = failure(block_on(service.runner_on(store, make()).run_pending(&())));
    assert!(
        failed.reason.starts_with(
            "at the batch of 10 entries from `user_00010` to `user_00019`: not copied. KV had failed: KV put of \
             `copy_user_00013` failed: 503"
        ),
        "{failed}"
    );
    service.migrate(make());
    let copies = service.store.entries().iter().filter(|(key, _)| key.name.starts_with("copy_")).count();
    assert_eq!(copies, 30);
}

#[test]
fn a_batch_that_is_larger_than_the_budget_fails_and_says_what_to_do() {
    let service = filled(100);
    let make = |size| {
        let backfill = Backfill::in_batches("user_", size, async |kv, records, ()| {
            for record in records {
                kv.put(&format!("copy_{}", record.name()), record.value())
                    .clear_metadata()
                    .clear_expiration()
                    .await?;
            }
            Ok(())
        });
        migration(backfill)
    };
    let small =
        |size| service.runner(make(size)).with_budget(kv_migrations::Budget::default().with_operations(40));
    let failed = failure(service.drive(&small(100)));
    assert!(failed.reason.starts_with("a single batch needs more than the 40 KV operations"), "{failed}");
    assert!(failed.reason.contains("make the batches smaller"), "{failed}");
    service.drive(&small(15)).expect("a batch of 15 fits");
}

#[test]
fn no_request_makes_more_operations_than_budget_and_reserve_and_no_batch_is_begun_that_does_not_fit() {
    let (service, begun) = (filled(500), Arc::new(AtomicU64::new(0)));
    let counted = begun.clone();
    let backfill = Backfill::in_batches("user_", 20, async move |kv, records, ()| {
        counted.fetch_add(1, Ordering::Relaxed);
        for record in records {
            kv.put(&format!("copy_{}", record.name()), record.value())
                .clear_metadata()
                .clear_expiration()
                .await?;
        }
        Ok(())
    });
    let budget = kv_migrations::Budget::default().with_operations(100);
    let runner = service.runner(migration(backfill)).with_budget(budget);
    let reports = service.drive(&runner).unwrap();
    assert!(reports.iter().all(|report| report.operations <= 116), "{reports:?}");
    assert_eq!(begun.load(Ordering::Relaxed), 25, "none is cut off and begun again");
}

#[test]
fn an_entry_that_was_deleted_meanwhile_is_in_no_batch() {
    let (service, database) = (filled(20), Database::default());
    let store = service.store.clone();
    let copying = database.clone();
    let backfill = Backfill::in_batches("user_", 10, async move |_, records, ()| {
        // While the first batch is copied, others of the same page go.
        for number in (0..9).chain(11..20) {
            store.delete(&format!("user_{number:05}")).await?;
        }
        Ok(copying.insert(records.iter().map(|record| (record.name().to_owned(), Vec::new())).collect())?)
    });
    service.migrate(migration(backfill));
    assert_eq!(database.take_sizes(), [10, 1]);
}

#[test]
fn a_batch_does_not_write_entries_that_come_later() {
    let service = filled(20);
    let backfill =
        Backfill::in_batches("user_", 10, async |kv, _, ()| Ok(kv.put("user_00015_v2", "x").await?));
    let failed = failure(block_on(service.runner(migration(backfill)).run_pending(&())));
    assert!(
        failed.reason.starts_with(
            "at the batch of 10 entries from `user_00000` to `user_00009`: KV put of `user_00015_v2`"
        ),
        "{failed}"
    );
    let backfill = Backfill::in_batches("user_", 10, async |kv, _, ()| {
        let _ = kv.put("user_00015_v2", "x").await;
        Ok(())
    });
    let failed = failure(block_on(service.runner(migration(backfill)).run_pending(&())));
    assert!(failed.reason.contains("allow_writes_ahead"), "also if it hides that: {failed}");
}

/// A namespace whose service writes an entry just before the backfill does, once: then KV takes no other write of that key.
#[derive(Clone)]
struct Beside {
    store: MemoryStore,
    key: &'static str,
    has_written: Arc<AtomicBool>,
}

impl Store for Beside {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        let is_write = matches!(request, Request::Put { key, .. } if key == self.key);
        if is_write && !self.has_written.swap(true, Ordering::Relaxed) {
            self.store.insert(self.key, "new");
            return Box::pin(async move { Err(request.refused(Some(429), "Too Many Requests")) });
        }
        self.store.call(request)
    }
}

#[test]
fn what_the_service_wrote_while_a_batch_was_worked_on_is_not_overwritten() {
    for key in ["user_00000", "user_00004", "user_00009"] {
        let (service, repeated) = (filled(20), Arc::<Mutex<BTreeSet<String>>>::default());
        let store = Beside { store: service.store.clone(), key, has_written: Arc::default() };
        let noted = repeated.clone();
        let marking = Backfill::in_batches("user_", 10, async move |_, records, ()| {
            for record in records.iter().filter(|record| !record.value().ends_with(b"+")) {
                if record.is_repeated() {
                    noted.lock().unwrap().insert(record.name().to_owned());
                }
                record.put([record.value(), b"+"].concat()).await?;
            }
            Ok(())
        });
        service.drive(&service.runner_on(store, migration(marking))).unwrap();
        assert_eq!(service.text(key).as_deref(), Some("new+"), "{key}");
        assert_eq!(marked(&service.store), 20, "{key}");
        assert!(repeated.lock().unwrap().contains(key), "{key}: it is told that it is repeated");
    }
}

#[test]
fn pages_without_keys_are_passed() {
    let (service, database) = (filled(25), Database::default());
    let runner = service.runner_on(EmptyPages(service.store.clone()), migration(database.copying(10)));
    service.drive(&runner).unwrap();
    assert_eq!(database.take_sizes(), [10, 10, 5]);
}

fn hard_entries() -> impl Strategy<Value = Vec<InitialEntry>> {
    let key = prop_oneof![
        4 => "user_[a-c0-9]{1,3}",
        1 => Just("user___proto__".to_owned()),
        1 => "user_[äöü€𝄞]{1,4}",
        1 => Just(format!("user_{}", "k".repeat(507))),
        1 => "[a-z]{1,3}",
    ];
    let value = prop_oneof![
        3 => "[a-z]{0,5}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
        1 => (0_usize..3_000).prop_map(|length| vec![b'v'; length]),
    ];
    proptest::collection::btree_map(key, value, 0..60)
        .prop_map(|entries| entries.into_iter().map(|(key, value)| InitialEntry::new(key, value)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// The model: the database has all users, each with its bytes, and batches are within their bounds, whatever is cut off.
    #[test]
    fn any_entries_sizes_budgets_and_crashes_copy_every_entry(
        entries in hard_entries(),
        size in 1_usize..30,
        bytes in 1_usize..4_000,
        page in 1_u32..30,
        operations in 20_u64..100,
        breaks in proptest::collection::vec(0_u64..120, 0..5),
        is_singly in any::<bool>(),
    ) {
        let (service, database) = (Service::holding(&entries, operations), Database::default());
        let make = || {
            let backfill = database.copying(size).with_batch_bytes(bytes);
            migration(if is_singly { backfill.read_singly() } else { backfill })
        };
        let store = || ShortPages(service.store.clone(), page);
        for at in breaks {
            let _ = service.drive(&service.runner_on(faulty(store(), Fault::Crash(at)), make()));
        }
        let mut is_over = false;
        for _ in 0..500 {
            match service.request(&service.runner_on(store(), make())) {
                Ok(report) => is_over = report.is_finished(),
                // Read one by one, a batch can be larger than the budget.
                Err(error) => {
                    let text = error.to_string();
                    prop_assert!(is_singly && text.contains("make the batches smaller"), "{text}");
                    return Ok(());
                }
            }
            if is_over { break; }
        }
        prop_assert!(is_over);
        let users = entries.iter().filter(|entry| entry.key.starts_with("user_"));
        let expected: BTreeMap<_, _> = users.map(|entry| (entry.key.clone(), entry.value.clone())).collect();
        prop_assert_eq!(database.rows(), expected.clone());
        for batch in &database.0.lock().unwrap().batches {
            let length: usize = batch.iter().map(|key| expected[key].len()).sum();
            prop_assert!(batch.len() <= size && (batch.len() == 1 || length <= bytes), "{batch:?}");
            prop_assert!(batch.is_sorted());
        }
    }
}
