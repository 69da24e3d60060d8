//! Which entries a backfill or a fold works on, and what it reads of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::executor::block_on;
use kv_migrations::kv::{Key, Request};
use kv_migrations::testing::{Fault, faulty};
use kv_migrations::{Backfill, Fold, FoldOutput, Migration, Record};
use proptest::prelude::*;

use crate::service::{InitialEntry, Service, failure, filled, touching};
use crate::stores::{Flaky, Intercepting, Refusing, ShortPages};

/// An index of all names.
fn names() -> Fold<(), Vec<String>> {
    let add = |names: &mut Vec<String>, record: &Record, (): &()| {
        names.push(record.name().to_owned());
        Ok(())
    };
    Fold::new("user_", Vec::new, add, |names, ()| Ok(vec![FoldOutput::json("names", names)?]))
}

/// Marks the key of each user.
fn marking_keys() -> Backfill {
    Backfill::new("user_", async |kv, record, ()| {
        Ok(kv.put(&format!("mark_{}", record.name()), record.value()).await?)
    })
}

fn is_draft(key: &Key) -> bool {
    key.metadata.as_ref().is_some_and(|metadata| metadata.as_json() == r#""draft""#)
}

/// Whether the key is that of a value, and not of a marker.
fn reads_value(request: Request<'_>) -> bool {
    match request {
        Request::GetBulk { .. } => true,
        Request::Get { key } => key.starts_with("user_"),
        _ => false,
    }
}

#[test]
fn with_keys_only_no_value_is_read() {
    let service = filled(2_500);
    let unreadable = Refusing { store: service.store.clone(), refuses: reads_value };
    let migrations = vec![
        Migration::fold("001", "", names().keys_only()),
        Migration::backfill("002", "", marking_keys().keys_only()),
    ];
    service.drive(&service.runner_on(unreadable, migrations)).expect("no value is asked for");
    let index = service.text("names").expect("it is written");
    assert_eq!(serde_json::from_str::<Vec<String>>(&index).unwrap().len(), 2_500);
    assert_eq!(service.text("mark_user_02499").as_deref(), Some(""));
}

#[test]
fn an_index_of_names_costs_two_lists_for_a_thousand_keys() {
    let service = filled(10_000);
    let before = service.store.operations();
    service.migrate(vec![Migration::fold("001", "", names().keys_only())]);
    // Ten to count; the index; and five for the ledger, the checkpoints and the marker.
    assert_eq!(service.store.operations() - before, 10 + 10 + 1 + 5);
}

#[test]
fn what_only_passes_over_costs_nothing_but_the_list_and_is_counted_nowhere() {
    let service = filled(10_000);
    service.put("user_05000", "x", Some(r#""draft""#));
    let before = service.store.operations();
    let reports =
        service.drive(&service.runner(vec![Migration::backfill("001", "", touching().only(is_draft))]));
    let report = reports.expect("it succeeds").pop().expect("there was a request");
    // Ten lists to count, six to the last one that is taken, a value and its write; and five for the ledger and checkpoints.
    assert_eq!(service.store.operations() - before, 10 + 6 + 2 + 5);
    let entries = report.details[0].entries.expect("a backfill counts");
    assert_eq!((entries.seen, entries.changed, entries.left), (1, 1, 0));
    assert_eq!(service.text("user_05000").as_deref(), Some("x "));
    assert_eq!(service.text("user_04999").as_deref(), Some("x"));
}

#[test]
fn few_entries_among_many_keys_take_no_more_requests_than_their_operations() {
    let entries: Vec<_> = (0..6_000)
        .map(|number| InitialEntry {
            metadata: (number % 300 == 20).then_some(r#""draft""#),
            ..InitialEntry::new(format!("user_{number:04}"), "x")
        })
        .collect();
    let service = Service::holding(&entries, 900);
    let runner = service.runner_on(
        ShortPages(service.store.clone(), 1),
        vec![Migration::backfill("001", "", touching().only(is_draft))],
    );
    let requests = service.drive(&runner).expect("it succeeds").len();
    // 6,000 lists to count, about as many to walk, 20 reads and 20 writes.
    assert!(requests <= 14, "{requests} requests of 900 operations for 12,000");
}

#[test]
fn reading_the_value_of_a_record_without_one_fails_and_says_why() {
    let read = Backfill::new("user_", async |_, record, ()| {
        let name = record.text()?.to_owned();
        Ok(record.put(name).await?)
    });
    let service = filled(1);
    let migration = Migration::backfill("001", "", read.keys_only().skip_failures(10));
    let failed = failure(block_on(service.runner(vec![migration]).run_pending(&())));
    assert_eq!(
        failed.reason,
        "at the entry `user_00000`: KV get of `user_00000` failed: nothing was sent: with `keys_only` values are not read. \
         Take that off, or read it with `Kv::get`"
    );
    assert_eq!(service.text("user_00000").as_deref(), Some("x"));
    let parse = Fold::new(
        "user_",
        || 0,
        |sum: &mut u64, record, (): &()| {
            *sum += record.json::<u64>()?;
            Ok(())
        },
        |_, ()| Ok(Vec::new()),
    );
    let failed = failure(block_on(
        service.runner(vec![Migration::fold("002", "", parse.keys_only())]).run_pending(&()),
    ));
    assert!(failed.reason.contains("with `keys_only` values are not read"), "{}", failed.reason);
}

#[test]
fn an_entry_that_failed_is_tried_again_only_if_it_is_still_to_be_worked_on() {
    let service = Service::new();
    service.put("user_1", "x", Some(r#""draft""#));
    service.put("user_2", "x", Some(r#""draft""#));
    let is_fixed = Arc::new(AtomicBool::new(false));
    let fixed = is_fixed.clone();
    let publish = Backfill::new("user_", async move |_, record, ()| {
        if !fixed.load(Ordering::Relaxed) {
            return Err("not yet".into());
        }
        Ok(record.put("published").await?)
    });
    let runner =
        service.runner(vec![Migration::backfill("001", "", publish.only(is_draft).skip_failures(10))]);
    failure(block_on(runner.run_pending(&())));
    // The service has published it itself.
    service.put("user_1", "by the service", None);
    is_fixed.store(true, Ordering::Relaxed);
    service.drive(&runner).expect("it succeeds");
    assert_eq!(service.text("user_1").as_deref(), Some("by the service"));
    assert_eq!(service.text("user_2").as_deref(), Some("published"));
}

#[test]
fn an_entry_that_the_service_wrote_amid_its_turn_is_passed_over_if_only_says_so_by_then() {
    let service = Service::new();
    service.put("user_1", "draft", Some(r#""draft""#));
    let (store, written) = (service.store.clone(), AtomicBool::new(false));
    let busy = Intercepting {
        store: service.store.clone(),
        answer: move |request: Request<'_>| {
            let is_user = matches!(request, Request::Put { key, .. } if key.starts_with("user_"));
            // The first write of the backfill comes within a second of this one.
            (is_user && !written.swap(true, Ordering::Relaxed)).then(|| {
                store.insert("user_1", "by the service");
                Err(request.refused(Some(429), "Too Many Requests"))
            })
        },
    };
    let migration = Migration::backfill("001", "", touching().only(is_draft));
    service.drive(&service.runner_on(busy, vec![migration])).expect("it succeeds");
    assert_eq!(service.text("user_1").as_deref(), Some("by the service"));
}

fn entries() -> impl Strategy<Value = Vec<InitialEntry>> {
    let key = prop_oneof!["[ab]_[0-9]{1,2}", "[0-9]{1,2}", Just("__proto__".to_owned()), "[äö]{1,3}"];
    let metadata = prop_oneof![Just(None), Just(Some(r#""draft""#)), Just(Some("null"))];
    let ttl = prop_oneof![3 => Just(None), 1 => Just(Some(1_000_000))];
    let rest = (proptest::collection::vec(any::<u8>(), 0..4), metadata, ttl);
    proptest::collection::btree_map(key, rest, 0..40).prop_map(|entries| {
        let entry = |(key, (value, metadata, ttl))| InitialEntry { key, value, metadata, ttl };
        entries.into_iter().map(entry).collect()
    })
}

/// What is chosen by key, metadata and expiration.
fn is_chosen(key: &Key) -> bool {
    let is_chosen = is_draft(key) || key.expiration.is_some() || key.name.ends_with('7');
    is_chosen && !key.name.starts_with("zz_")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Each chosen entry is visited, whatever is cut off, and no other one.
    #[test]
    fn a_walk_over_some_entries_is_as_a_plain_loop_over_them(
        entries in entries(),
        keys_only in any::<bool>(),
        page in 1_u32..10,
        operations in 45_u64..80,
        breaks in proptest::collection::vec(0_u64..100, 0..4),
        noise in any::<u64>(),
    ) {
        let migrations = || {
            let mark = Backfill::new("", async |kv, record: &Record, ()| {
                Ok(kv.put(&format!("zz_mark_{}", record.name()), record.value()).await?)
            });
            let gather = Fold::new(
                "",
                BTreeMap::new,
                |seen: &mut BTreeMap<String, Vec<u8>>, record, ()| {
                    seen.insert(record.name().to_owned(), record.value().to_vec());
                    Ok(())
                },
                |seen, ()| Ok(vec![FoldOutput::json("zz_seen", seen)?]),
            );
            let (mark, gather) = (mark.only(is_chosen).allow_writes_ahead(), gather.only(is_chosen));
            let (mark, gather) = if keys_only { (mark.keys_only(), gather.keys_only()) } else { (mark, gather) };
            let batches = Backfill::in_batches("", 3, async |kv, records, ()| {
                for record in records {
                    kv.put(&format!("zz_batch_{}", record.name()), record.value()).await?;
                }
                Ok(())
            });
            let batches = batches.only(is_chosen).allow_writes_ahead();
            let batches = if keys_only { batches.keys_only() } else { batches };
            vec![
                Migration::fold("001", "", gather),
                Migration::backfill("002", "", mark),
                Migration::backfill("003", "", batches),
            ]
        };
        let service = Service::holding(&entries, operations);
        let listed = service.store.entries();
        let store = || ShortPages(service.store.clone(), page);
        for at in breaks {
            let _ = service.drive(&service.runner_on(faulty(store(), Fault::Crash(at)), migrations()));
        }
        let runner = service.runner_on(Flaky::new(store(), noise), migrations());
        service.drive(&runner).map_err(|error| TestCaseError::fail(error.to_string()))?;

        let chosen = || listed.iter().filter(|(key, _)| is_chosen(key));
        let value = |value: &Vec<u8>| if keys_only { Vec::new() } else { without_mark(value) };
        let expected: BTreeMap<String, Vec<u8>> =
            chosen().map(|(key, bytes)| (key.name.clone(), value(bytes))).collect();
        let seen: BTreeMap<String, Vec<u8>> =
            serde_json::from_slice(&service.store.value("zz_seen").expect("it is written")).expect("it is JSON");
        prop_assert_eq!(&seen, &expected);
        for prefix in ["zz_mark_", "zz_batch_"] {
            let marks: BTreeMap<String, Vec<u8>> = service.store.entries().into_iter()
                .filter_map(|(key, bytes)| Some((key.name.strip_prefix(prefix)?.to_owned(), bytes)))
                .collect();
            prop_assert_eq!(&marks, &expected, "{}", prefix);
        }
    }
}

/// As a bulk read gives it.
fn without_mark(value: &[u8]) -> Vec<u8> {
    value.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(value).to_vec()
}
