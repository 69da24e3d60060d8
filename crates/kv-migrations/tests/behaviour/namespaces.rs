//! A backfill and a fold over another namespace than the service's own.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use futures::executor::block_on;
use kv_migrations::BoxFuture;
use kv_migrations::kv::{Answer, KvError, MemoryStore, Request, Store};
use kv_migrations::testing::{Fault, faulty};
use kv_migrations::{Backfill, Fold, FoldOutput, Migration};
use proptest::prelude::*;

use crate::rekey_namespaces::Unbound;
use crate::service::{InitialEntry, Service, failure, good, marking, unmarking};
use crate::stores::{Flaky, Intercepting, ShortPages};

/// Copies each entry to the service's own namespace, and marks it where it is.
fn copying(prefix: &'static str, old: impl Store + 'static) -> Migration {
    let copy = Backfill::new(prefix, async |kv, record, ()| {
        let value = record.value().strip_suffix(b"+").unwrap_or(record.value());
        kv.put(record.name(), value).with_options_of(record.key()).await?;
        Ok(record.put([value, b"+"].concat()).await?)
    });
    Migration::backfill("002_copy", "", copy.in_namespace(old))
}

/// The names, in the service's own namespace.
fn gathering(prefix: &'static str, old: impl Store + 'static) -> Migration {
    let gather = Fold::new(
        prefix,
        Vec::new,
        |seen: &mut Vec<String>, record, (): &()| {
            seen.push(record.name().to_owned());
            Ok(())
        },
        |seen, ()| Ok(vec![FoldOutput::json("seen", seen)?]),
    );
    Migration::fold("003_gather", "", gather.in_namespace(old))
}

fn users(number: usize) -> MemoryStore {
    let store = MemoryStore::new();
    for number in 0..number {
        store.insert(&format!("user_{number:04}"), "x");
    }
    store
}

#[test]
fn the_budget_counts_the_operations_of_all_namespaces() {
    let (service, old) = (Service::new(), users(1_000));
    service.store.insert("user_own", "x");
    let runner = service.runner(vec![copying("user_", old.clone()), gathering("user_", old.clone())]);
    let (mut before, mut requests) = (0, 0);
    loop {
        let report = service.request(&runner).expect("it succeeds");
        let after = service.store.operations() + old.operations();
        assert_eq!(report.operations, after - before, "all operations are counted");
        assert!(report.operations <= 980, "{} operations in one request", report.operations);
        (before, requests) = (after, requests + 1);
        if report.is_finished() {
            break;
        }
    }
    assert!(requests > 2, "2,000 writes take more than {requests} requests");
    assert_eq!(service.text("user_0999").as_deref(), Some("x"));
    assert_eq!(service.text("user_own").as_deref(), Some("x"), "the service's own namespace is not walked");
    assert_eq!(old.value("user_0999").as_deref(), Some(&b"x+"[..]), "a record is written where it is");
    assert_eq!(service.text("seen").map(|seen| seen.len()), Some(1_000 * r#""user_0000","#.len() + 1));
}

/// A namespace that shares the count of open operations with others.
struct Shared {
    store: MemoryStore,
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Store for Shared {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(async move {
            let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(open, Ordering::Relaxed);
            let mut turns = 0;
            poll_fn(|context| {
                turns += 1;
                context.waker().wake_by_ref();
                if turns > 3 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            let answer = self.store.call(request).await;
            self.open.fetch_sub(1, Ordering::Relaxed);
            answer
        })
    }
}

#[test]
fn all_namespaces_together_have_six_connections() {
    let (open, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let shared = |store: MemoryStore| Shared { store, open: open.clone(), most: most.clone() };
    let service = Service::new();
    let runner = service.runner_on(shared(service.store.clone()), vec![copying("user_", shared(users(200)))]);
    service.drive(&runner).expect("it succeeds");
    assert_eq!(most.load(Ordering::Relaxed), 6);
}

#[test]
fn in_another_namespace_only_the_markers_of_this_service_are_left_out() {
    for prefix in ["", "migration_"] {
        let (service, elsewhere) = (Service::new(), Service::new());
        // The service was there before, beside another one.
        elsewhere.migrate(vec![good("001")]);
        elsewhere.neighbour("other").migrate(vec![good("001_other")]);
        for key in ["migration_notes", "migration_my-service_data", "migration_my-service_more"] {
            elsewhere.put(key, "data", None);
        }
        let migrations = vec![gathering(prefix, elsewhere.store.clone())];
        let report =
            service.drive(&service.runner(migrations)).expect("it succeeds").pop().expect("a report");
        let seen = service.text("seen").expect("it is written");
        for (key, is_seen) in [
            ("migration_notes", true),
            ("migration_other_001_other", true),
            ("migration_my-service_001", false),
            ("migration_my-service_data", false),
        ] {
            assert_eq!(seen.contains(&format!("\"{key}\"")), is_seen, "{prefix:?}: {key} in {seen}");
        }
        let [warning] = &report.warnings[..] else { panic!("one warning: {:?}", report.warnings) };
        assert!(warning.contains("003_gather left out 2 keys that begin with `migration_`"), "{warning}");
    }
}

#[test]
fn markers_are_in_the_services_own_namespace() {
    let (service, old) = (Service::new(), users(3));
    service.migrate(vec![copying("user_", old.clone())]);
    assert!(service.store.value("migration_my-service_002_copy").is_some());
    assert!(old.entries().iter().all(|(key, _)| key.name.starts_with("user_")));
}

#[test]
fn a_rollback_without_the_namespace_leaves_the_migration_applied() {
    let (service, old) = (Service::new(), users(3));
    let migration = |down: Backfill| Migration::backfill("long", "", marking()).with_down_backfill(down);
    service.migrate(vec![migration(unmarking().in_namespace(old.clone()))]);
    let runner = service.runner(vec![migration(unmarking().in_namespace(Unbound))]);
    let error = service.roll_back(&runner).expect_err("it is not bound").to_string();
    assert!(error.contains("no KV binding"), "{error}");
    assert_eq!(service.text("migration_my-service_long").as_deref(), Some("true"));
    service.roll_back(&service.runner(vec![migration(unmarking().in_namespace(old))])).expect("it is bound");
}

#[test]
fn a_checkpoint_of_one_namespace_does_not_carry_on_in_another() {
    let (service, old) = (Service::holding(&[], 20), users(100));
    let report =
        block_on(service.runner(vec![copying("user_", old)]).run_pending(&())).expect("it has begun");
    assert!(!report.is_finished());
    service.clock.advance(std::time::Duration::from_secs(2));
    let own = Backfill::new("user_", async |_, _, ()| Ok(()));
    let failed =
        failure(block_on(service.runner(vec![Migration::backfill("002_copy", "", own)]).run_pending(&())));
    assert!(failed.reason.contains("cannot read its checkpoint"), "{}", failed.reason);
}

#[test]
fn a_write_of_the_service_amid_the_turn_of_an_entry_elsewhere_is_seen() {
    let old = users(1);
    let refused = AtomicUsize::new(0);
    let (store, written) = (old.clone(), old.clone());
    let busy = Intercepting {
        store,
        answer: move |request: Request<'_>| {
            let is_put = matches!(request, Request::Put { .. });
            (is_put && refused.fetch_add(1, Ordering::Relaxed) == 0).then(|| {
                written.insert("user_0000", "newer");
                Err(request.refused(Some(429), "Too Many Requests"))
            })
        },
    };
    let service = Service::new();
    service.migrate(vec![copying("user_", busy)]);
    assert_eq!(old.value("user_0000").as_deref(), Some(&b"newer+"[..]));
    assert_eq!(service.text("user_0000").as_deref(), Some("newer"));
}

#[test]
fn a_copy_that_is_cut_off_at_any_operation_in_either_namespace_is_continued() {
    let entries = [
        InitialEntry { metadata: Some("1"), ttl: Some(100_000), ..InitialEntry::new("42", "x") },
        InitialEntry::new("user_1", "x"),
        InitialEntry::new("user_2", ""),
    ];
    let migrations = |old: Arc<dyn Store>| vec![copying("", old.clone()), gathering("", old)];
    let run = |faults: [Fault; 2]| {
        let (service, elsewhere) = (Service::holding(&[], 14), Service::holding(&entries, 14));
        let [own, old] = faults;
        let cut_off = service.runner_on(
            faulty(service.store.clone(), own),
            migrations(Arc::new(faulty(elsewhere.store.clone(), old))),
        );
        let is_cut_off = service.drive(&cut_off).is_err();
        let runner = service.runner_on(service.store.clone(), migrations(Arc::new(elsewhere.store.clone())));
        service.drive(&runner).unwrap_or_else(|error| panic!("{faults:?}: it cannot be continued: {error}"));
        (is_cut_off, service.outcome(), elsewhere.outcome())
    };
    let never = Fault::Crash(u64::MAX);
    let (_, own, old) = run([never, never]);
    for kind in [Fault::Crash, Fault::AnswerLost, Fault::Refused] {
        for is_elsewhere in [false, true] {
            for at in 0.. {
                let fault = kind(at);
                let (is_cut_off, own_now, old_now) =
                    run(if is_elsewhere { [never, fault] } else { [fault, never] });
                assert_eq!((&own_now, &old_now), (&own, &old), "{fault:?}, elsewhere: {is_elsewhere}");
                if !is_cut_off && at > 10 {
                    break;
                }
            }
        }
    }
}

fn entries() -> impl Strategy<Value = Vec<InitialEntry>> {
    let key =
        prop_oneof!["user_[0-9]{1,2}", "[0-9]{1,2}", Just("__proto__".to_owned()), "migration_[a-c]{1,2}"];
    let metadata = prop_oneof![Just(None), Just(Some(r#"{"a":1}"#))];
    let ttl = prop_oneof![3 => Just(None), 1 => Just(Some(1_000_000))];
    let rest = ("[a-z]{0,3}".prop_map(String::into_bytes), metadata, ttl);
    proptest::collection::btree_map(key, rest, 0..30).prop_map(|entries| {
        let entry = |(key, (value, metadata, ttl))| InitialEntry { key, value, metadata, ttl };
        entries.into_iter().map(entry).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is cut off, in either namespace: each entry has its copy, with all that it has.
    #[test]
    fn a_copy_of_a_namespace_is_as_a_plain_loop_over_it(
        entries in entries(),
        page in 1_u32..10,
        operations in 45_u64..80,
        breaks in proptest::collection::vec((0_u64..100, any::<bool>()), 0..4),
        noise in any::<u64>(),
    ) {
        let (service, elsewhere) = (Service::holding(&[], operations), Service::holding(&entries, operations));
        let before = elsewhere.store.entries();
        let old = || ShortPages(elsewhere.store.clone(), page);
        let migrations = |old: Arc<dyn Store>| vec![copying("", old.clone()), gathering("", old)];
        for (at, is_elsewhere) in breaks {
            let fault = Fault::Crash(at);
            let runner = if is_elsewhere {
                service.runner_on(service.store.clone(), migrations(Arc::new(faulty(old(), fault))))
            } else {
                service.runner_on(faulty(service.store.clone(), fault), migrations(Arc::new(old())))
            };
            let _ = service.drive(&runner);
        }
        let own = Flaky::new(service.store.clone(), noise);
        let runner = service.runner_on(own, migrations(Arc::new(Flaky::new(old(), !noise))));
        service.drive(&runner).map_err(|error| TestCaseError::fail(error.to_string()))?;

        let seen: Vec<String> = serde_json::from_slice(&service.store.value("seen").expect("it is written")).unwrap();
        let names: Vec<_> = before.iter().map(|(key, _)| key.name.clone()).collect();
        prop_assert_eq!(seen, names);
        let copies: BTreeMap<_, _> =
            service.store.entries().into_iter().map(|(key, value)| (key.name.clone(), (key, value))).collect();
        for (key, value) in &before {
            prop_assert_eq!(copies.get(&key.name), Some(&(key.clone(), value.clone())));
            prop_assert_eq!(elsewhere.store.value(&key.name), Some([&**value, b"+"].concat()));
        }
    }
}
