//! A backfill: what it reads, changes, costs and reports.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use futures::executor::block_on;
use futures::future::poll_fn;
use kv_migrations::clock::Clock;
use kv_migrations::kv::{Expiration, KvErrorKind, Metadata, PutOptions, Request, StoreExt};
use kv_migrations::testing::ManualClock;
use kv_migrations::testing::{Fault, faulty};
use kv_migrations::{Backfill, Budget, Direction, Event, Migration, Phase, State};

use crate::service::{InitialEntry, Service, failure, filled, ids, touching};
use crate::stores::{EmptyLastPage, EmptyPages, Refusing, ShortPages};

/// A backfill, and the keys that it has seen.
fn seeing(prefix: &'static str) -> (Backfill, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let shared = seen.clone();
    let backfill = Backfill::new(prefix, async move |_, record, ()| {
        shared.lock().unwrap().push(record.name().to_owned());
        Ok(())
    });
    (backfill, seen)
}

#[test]
fn a_backfill_costs_at_most_two_percent_more_than_necessary() {
    let service = filled(10_000);
    let before = service.store.operations();
    assert_eq!(service.migrate(vec![Migration::backfill("001", "", touching())]), ids(&["001"]));
    let least = 10_000 / 1_000 + 10_000 / 100 + 10_000;
    let needed = service.store.operations() - before;
    assert!(needed * 100 <= least * 102, "{needed} operations, and {least} would have done");
}

#[test]
fn a_backfill_takes_one_run_for_every_900_operations() {
    let service = filled(3_000);
    let runner = service.runner(vec![Migration::backfill("001", "", touching())]);
    let mut operations = Vec::new();
    while operations.last().is_none_or(|(is_finished, _)| !is_finished) {
        let report = block_on(runner.run_pending(&())).unwrap();
        operations.push((report.is_finished(), report.operations));
    }
    assert_eq!(operations.len(), 4);
    assert!(operations.iter().all(|(_, operations)| *operations <= 910), "{operations:?}");
}

#[test]
fn a_backfill_keeps_metadata_and_expiration() {
    let service = Service::new();
    let options = PutOptions::new()
        .with_metadata(Some(Metadata::from_json(r#"{"b":1,"a":2}"#)))
        .with_expiration(Some(Expiration::After(900)));
    block_on(service.store.put("user_1", b"x", &options)).unwrap();
    let before = service.store.entries()[0].0.clone();
    service.migrate(vec![Migration::backfill("001", "", touching())]);
    let (key, value) = service.store.entries().pop().unwrap();
    assert_eq!((key, value), (before, b"x ".to_vec()));
}

#[test]
fn a_backfill_reads_every_value_exactly() {
    let service = Service::new();
    let entries: [(&str, &[u8]); 6] = [
        ("1", b"an integer"),
        ("__proto__", b"a prototype"),
        ("binary", &[0xff, 0x00]),
        ("empty", b""),
        ("replaced", "\u{FFFD}".as_bytes()),
        ("ünï", b"text"),
    ];
    for (key, value) in entries {
        service.store.insert(key, value);
    }
    let seen = Arc::<Mutex<Vec<(String, Vec<u8>)>>>::default();
    let shared = seen.clone();
    let reading = Backfill::new("", async move |_, record, ()| {
        shared.lock().unwrap().push((record.name().to_owned(), record.value().to_vec()));
        Ok(())
    });
    service.migrate(vec![Migration::backfill("001", "", reading)]);
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    let expected: Vec<(String, Vec<u8>)> =
        entries.iter().map(|(key, value)| ((*key).to_owned(), value.to_vec())).collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_backfill_that_reads_singly_keeps_byte_order_marks() {
    let service = Service::new();
    service.store.insert("user_1", "\u{FEFF}x");
    service.migrate(vec![Migration::backfill("001", "", touching().read_singly())]);
    assert_eq!(service.store.value("user_1").unwrap(), "\u{FEFF}x ".as_bytes());
}

#[test]
fn a_backfill_continues_after_an_empty_page() {
    let service = filled(1_500);
    let (backfill, seen) = seeing("user_");
    let runner =
        service.runner_on(EmptyPages(service.store.clone()), vec![Migration::backfill("001", "", backfill)]);
    assert!(block_on(runner.run_pending(&())).unwrap().is_finished());
    assert_eq!(seen.lock().unwrap().len(), 1_500);
}

#[test]
fn a_backfill_of_everything_leaves_markers_out() {
    let service = filled(3);
    let metadata = Some(r#"{"runAt":"2026-11-22T10:48:28.706Z"}"#);
    service.put("migration_my-service_000", "true", metadata);
    service.put("migration_another_000", "true", metadata);
    let ((all, seen), (markers, others)) = (seeing(""), seeing("migration_"));
    service.migrate(vec![Migration::backfill("001", "", all), Migration::backfill("002", "", markers)]);
    assert_eq!(*seen.lock().unwrap(), ids(&["user_00000", "user_00001", "user_00002"]));
    assert_eq!(*others.lock().unwrap(), ids(&["migration_another_000"]), "never its own");
}

#[test]
fn a_backfill_skips_deleted_entries_and_sees_added_ones() {
    let service = filled(5);
    let store = service.store.clone();
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let shared = seen.clone();
    let backfill = Backfill::new("user_", async move |_, record, ()| {
        shared.lock().unwrap().push(record.name().to_owned());
        if record.name() == "user_00000" {
            store.delete("user_00003").await?;
            store.insert("user_00003a", "late");
            store.insert("user_99999", "after the last one");
        }
        Ok(())
    })
    .read_singly();
    let pages = ShortPages(service.store.clone(), 2);
    block_on(service.runner_on(pages, vec![Migration::backfill("001", "", backfill)]).run_pending(&()))
        .unwrap();
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    assert_eq!(seen, ids(&["user_00000", "user_00001", "user_00002", "user_00003a", "user_00004"]));
}

#[test]
fn a_failing_backfill_waits_for_the_entries_that_it_began() {
    let service = filled(40);
    let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (begins, ends) = (begun.clone(), ended.clone());
    let backfill = Backfill::new("user_", async move |_, record, ()| {
        begins.fetch_add(1, Ordering::Relaxed);
        // The entries after it take longer.
        if record.name() == "user_00013" {
            ends.fetch_add(1, Ordering::Relaxed);
            return Err("no such customer".into());
        }
        for _ in 0..50 {
            yield_now().await;
        }
        ends.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    failure(block_on(service.runner(vec![Migration::backfill("001", "", backfill)]).run_pending(&())));
    let begun = begun.load(Ordering::Relaxed);
    assert!(begun > 14, "some after it were begun: {begun}");
    assert_eq!(ended.load(Ordering::Relaxed), begun);
}

async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|context| {
        context.waker().wake_by_ref();
        if std::mem::replace(&mut has_yielded, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[test]
fn status_and_events_have_the_progress_of_a_backfill() {
    let service = filled(1_700);
    let runner = service.runner(vec![Migration::backfill("001", "", touching())]);
    let report = block_on(runner.run_pending(&())).unwrap();
    let progress = report.progress.unwrap();
    assert_eq!(report.remaining, ids(&["001"]));
    assert_eq!((progress.total, progress.phase, progress.requests), (Some(1_700), Phase::Entries, 1));
    assert!((800..900).contains(&progress.done), "{progress:?}");

    let status = block_on(runner.status()).unwrap().remove(0);
    assert_eq!((status.state, status.run), (State::Running, false));
    let recorded = status.progress.unwrap();
    assert_eq!((recorded.done, recorded.direction), (progress.done, Direction::Up));
    assert!(recorded.checkpoint_at.starts_with("2026-11-22T10:48:"), "{recorded:?}");
    assert_eq!(recorded.checkpoint_at, progress.checkpoint_at, "the answer says so too");

    let events = Mutex::new(Vec::new());
    let observer = |event: &Event| {
        events.lock().unwrap().push(match event {
            Event::Started { id, .. } => format!("started {id}"),
            Event::Applied(detail) => format!("applied {}", detail.id),
            Event::Paused { id, .. } => format!("paused {id}"),
            Event::Progress { .. } => "progress".to_owned(),
            event => format!("{event:?}"),
        });
    };
    let report = block_on(runner.run_pending_observed(&(), &observer)).unwrap();
    assert!(report.is_finished());
    assert_eq!(*events.lock().unwrap(), ["started 001", "applied 001"]);
    assert!(report.details[0].operations > 1_700, "of all requests: {:?}", report.details);
}

#[test]
fn the_marker_is_never_written_twice_within_a_second() {
    let service = filled(100);
    let clock = service.clock.clone();
    let slow = Backfill::new("user_", async move |_, _, ()| {
        Clock::sleep(&clock, Duration::from_millis(300)).await;
        Ok(())
    });
    let written = Arc::<Mutex<Vec<SystemTime>>>::default();
    let (times, clock) = (written.clone(), service.clock.clone());
    let watches = move |request: Request<'_>| {
        if matches!(request, Request::Put { key: "migration_my-service_001", .. }) {
            times.lock().unwrap().push(clock.now());
        }
        false
    };
    let store = Refusing { store: service.store.clone(), refuses: watches };
    let runner = service.runner_on(store, vec![Migration::backfill("001", "", slow)]);
    while !block_on(runner.run_pending(&())).unwrap().is_finished() {}
    let written = written.lock().unwrap();
    assert!(written.len() > 2, "{written:?}");
    assert!(written.windows(2).all(|pair| pair[1] >= pair[0] + Duration::from_secs(1)), "{written:?}");
}

#[test]
fn a_checkpoint_of_another_kind_is_an_error_and_stays() {
    let service = filled(1_700);
    let backfill = || vec![Migration::backfill("001", "", touching())];
    block_on(service.runner(backfill()).run_pending(&())).unwrap();
    let before = service.store.value("migration_my-service_001");
    let rekey = Migration::rekey("001", "", kv_migrations::Rekey::prefix("user_", "user:"));
    let failed = failure(block_on(service.runner(vec![rekey]).run_pending(&())));
    assert!(failed.reason.contains("POST /migrations/001/reset"), "{failed}");
    assert_eq!(service.store.value("migration_my-service_001"), before, "it can still be continued");
    assert_eq!(service.migrate(backfill()), ids(&["001"]));
}

#[test]
fn a_half_applied_backfill_can_be_rolled_back() {
    let service = filled(1_200);
    let make = || {
        let down = Backfill::new("user_", async |_, record, ()| {
            Ok(record.put(record.value().strip_suffix(b" ").unwrap_or(record.value())).await?)
        });
        vec![Migration::backfill("001", "", touching()).with_down_backfill(down)]
    };
    let runner = service.runner(make());
    assert!(!block_on(runner.run_pending(&())).unwrap().is_finished());
    let mut rollbacks = 0;
    loop {
        let report = block_on(runner.rollback("001", &())).unwrap();
        rollbacks += 1;
        if report.is_finished() {
            break;
        }
        assert_eq!(report.progress.unwrap().direction, Direction::Down);
        assert_eq!(block_on(runner.status()).unwrap()[0].state, State::Running);
    }
    assert_eq!(rollbacks, 2);
    assert_eq!(block_on(runner.status()).unwrap()[0].state, State::Pending);
    assert_eq!(service.text("user_00000").as_deref(), Some("x"));
}

#[test]
fn a_value_that_is_not_the_expected_json_is_named() {
    let service = Service::new();
    service.store.insert("user_1", "no JSON");
    let backfill = Backfill::new("user_", async |_, record, ()| {
        let error = record.json::<Vec<u8>>().unwrap_err();
        assert!(matches!(error.kind(), KvErrorKind::NotJson { .. }));
        Err(error.into())
    });
    let failed =
        failure(block_on(service.runner(vec![Migration::backfill("001", "", backfill)]).run_pending(&())));
    assert_eq!(
        failed.reason,
        "at the entry `user_1`: the value of `user_1` is not the expected JSON: see line 1, column 2"
    );
}

#[test]
fn a_large_budget_takes_a_backfill_in_one_run() {
    let service = filled(2_500);
    let runner = service.runner(vec![Migration::backfill("001", "", touching())]);
    let runner = runner.with_budget(Budget::default().with_operations(100_000));
    let report = block_on(runner.run_pending(&())).unwrap();
    assert!(report.is_finished());
    let expected = 1 + 1 + 3 + 3 + 26 + 2_500;
    assert_eq!(
        report.details[0].operations, expected,
        "a look, a checkpoint, lists to count and to read, reads, writes"
    );
}

#[test]
fn a_backfill_keeps_other_json_fields_to_the_last_digit() {
    let service = Service::new();
    let before = r#"{"latitude":31.245270191439438,"verified":false}"#;
    service.store.insert("customer_1", before.replace(r#","verified":false"#, ""));
    let verified = Backfill::new("customer_", async |_, record, ()| {
        let mut fields: serde_json::Map<String, serde_json::Value> = record.json()?;
        fields.entry("verified").or_insert(false.into());
        Ok(record.put_json(&fields).await?)
    });
    service.migrate(vec![Migration::backfill("001", "", verified)]);
    assert_eq!(service.text("customer_1").unwrap(), before);
}

#[test]
fn a_checkpoint_of_another_prefix_is_not_continued() {
    let service = Service::new();
    for number in 0..10 {
        service.store.insert(&format!("customer_{number}"), "x");
        service.store.insert(&format!("user_{number}"), "x");
    }
    let wrong = Backfill::new("user_", async |_, record, ()| match record.name() {
        "user_5" => Err("no customer".into()),
        _ => Ok(()),
    });
    block_on(service.runner(vec![Migration::backfill("001", "", wrong)]).run_pending(&())).unwrap_err();
    let right = Backfill::new("customer_", async |_, record, ()| Ok(record.put("x+").await?));
    let result = block_on(service.runner(vec![Migration::backfill("001", "", right)]).run_pending(&()));
    let touched = service.store.entries().into_iter().filter(|(_, value)| value == b"x+").count();
    assert!(result.is_err() || touched == 10, "applied, and {touched} entries are changed: {result:?}");
}

#[test]
fn a_backfill_ends_after_an_empty_last_page() {
    let mut endless = Vec::new();
    for operations in 8..40 {
        for number in 1..60 {
            let entries: Vec<InitialEntry> =
                (0..number).map(|n| InitialEntry::new(format!("user_{n:05}"), "x")).collect();
            let service = Service::holding(&entries, operations);
            let backfill = Backfill::new("user_", async |_, _, ()| Ok(()));
            let migration = Migration::backfill("long", "", backfill);
            let runner = service.runner_on(EmptyLastPage(service.store.clone(), 1), vec![migration]);
            let is_finished = (0..500).any(|_| match service.request(&runner) {
                Ok(report) => report.is_finished(),
                Err(error) => panic!("{operations} {number} {error}"),
            });
            if !is_finished {
                endless.push((operations, number));
            }
        }
    }
    assert!(endless.is_empty(), "{} of them never end: {endless:?}", endless.len());
}

#[test]
fn a_marker_from_a_clock_ahead_does_not_prevent_checkpoints() {
    let service = filled(3_000);
    let clock = service.clock.clone();
    let slow = || {
        let clock = clock.clone();
        vec![Migration::backfill(
            "001",
            "",
            Backfill::new("user_", async move |_, record, ()| {
                clock.sleep(Duration::from_millis(100)).await;
                Ok(record.put("y").await?)
            }),
        )]
    };
    // The clock of a request elsewhere is two minutes ahead.
    service.clock.advance(Duration::from_mins(2));
    assert!(!block_on(service.runner(slow()).run_pending(&())).unwrap().is_finished());
    let before = service.store.value("migration_my-service_001").unwrap();
    let behind = ManualClock::starting_at(service.clock.now() - Duration::from_mins(2));
    let other = behind.clone();
    let slow = vec![Migration::backfill(
        "001",
        "",
        Backfill::new("user_", async move |_, record, ()| {
            other.sleep(Duration::from_millis(100)).await;
            Ok(record.put("y").await?)
        }),
    )];
    // The run is cut off after 200 operations, which take 20 seconds.
    let killed = service
        .runner_on(faulty(service.store.clone(), Fault::Crash(200)), slow)
        .with_clock(Arc::new(behind.clone()));
    block_on(killed.run_pending(&())).unwrap_err();
    assert_ne!(
        service.store.value("migration_my-service_001").unwrap(),
        before,
        "nothing was kept of 20 seconds"
    );
}

/// A bulk get cannot read the key `42` exactly. It is read singly, and a single get keeps a byte order mark.
#[test]
fn json_behind_a_byte_order_mark_is_read_whatever_the_key() {
    let service = Service::new();
    for key in ["x42", "42"] {
        service.store.insert(key, "\u{feff}{\"a\":1}");
    }
    let read = Arc::<Mutex<Vec<String>>>::default();
    let shared = read.clone();
    let reading = Backfill::new("", async move |kv, record, ()| {
        let value: serde_json::Value = record.json()?;
        let again: Option<serde_json::Value> = kv.json(record.name()).await?;
        assert_eq!(again.as_ref(), Some(&value));
        shared.lock().unwrap().push(record.text()?.to_owned());
        Ok(())
    });
    service.migrate(vec![Migration::backfill("001", "", reading)]);
    assert_eq!(*read.lock().unwrap(), [r#"{"a":1}"#; 2]);
}

#[test]
fn a_marker_with_the_greatest_numbers_is_resumed() {
    let service = filled(2_000);
    let runner = service.runner(vec![Migration::backfill("001", "", touching())]);
    service.request(&runner).expect("it succeeds");
    let (marker, value) =
        service.store.entries().into_iter().find(|(key, _)| key.name.ends_with("_001")).unwrap();
    let mut fields: serde_json::Value = marker.metadata.unwrap().parse().unwrap();
    for number in fields.as_object_mut().unwrap().values_mut().filter(|field| field.is_number()) {
        *number = u64::MAX.into();
    }
    let options = PutOptions::new().with_metadata(Some(Metadata::from_json(fields.to_string())));
    block_on(service.store.put(&marker.name, &value, &options)).unwrap();
    let reports = service.drive(&runner).expect("only what is told of its progress is wrong");
    let entries = reports.last().unwrap().details[0].entries.expect("it is a backfill");
    assert_eq!(entries.seen, u64::MAX);
}

#[test]
fn before_its_first_checkpoint_a_backfill_has_no_time_of_one() {
    let service = filled(3);
    let failing = Backfill::new("user_", async |_, _, ()| Err("boom".into()));
    let failure =
        failure(block_on(service.runner(vec![Migration::backfill("001", "", failing)]).run_pending(&())));
    let json = serde_json::to_value(&failure.report).unwrap();
    assert!(json["progress"]["startedAt"].is_string(), "{json}");
    assert_eq!(json["progress"].get("checkpointAt"), None, "{json}");
}
