//! What a dry run tells is what a run does, and nothing is written.

mod asked;
mod ends;
mod findings;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures::executor::block_on;
use kv_migrations::kv::{Answer, Key, KvError, MemoryStore, Request, Store};
use kv_migrations::{
    Backfill, BoxFuture, DryRun, DryRunChange, DryRunMigration, DryRunReport, Fold, FoldOutput, Migration,
    Rekey, Runner, Until,
};
use proptest::prelude::*;

use crate::service::{InitialEntry, Service, filled, marking};

/// Records what is written.
#[derive(Clone)]
struct Recorded {
    store: MemoryStore,
    changes: Arc<Mutex<Vec<DryRunChange>>>,
    /// What all operations cost, in halves of millionths of a dollar.
    cost: Arc<AtomicU64>,
}

impl Recorded {
    fn new(store: &MemoryStore) -> Self {
        Self { store: store.clone(), changes: Arc::default(), cost: Arc::default() }
    }

    fn entry(&self, key: &str) -> Option<(Key, Vec<u8>)> {
        self.store.entries().into_iter().find(|(found, _)| found.name == key)
    }
}

/// As a dry run has it.
fn json(entry: Option<(Key, Vec<u8>)>) -> serde_json::Value {
    entry.map_or(serde_json::Value::Null, |(key, value)| {
        let mut json = serde_json::json!({ "bytes": value.len() });
        if let Some(metadata) = key.metadata {
            json["metadata"] = metadata.as_json().into();
        }
        if let Some(expiration) = key.expiration {
            json["expiration"] = expiration.into();
        }
        if let Ok(value) = String::from_utf8(value) {
            json["value"] = value.into();
        }
        json
    })
}

fn change(key: &str, operation: &str, before: &serde_json::Value, after: &serde_json::Value) -> DryRunChange {
    serde_json::from_value(
        serde_json::json!({ "key": key, "operation": operation, "before": before, "after": after }),
    )
    .expect("it is a change")
}

impl Store for Recorded {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(async move {
            let cost = match request {
                Request::Get { .. } => 1,
                Request::GetBulk { keys } => keys.len() as u64,
                _ => 10,
            };
            self.cost.fetch_add(cost, Ordering::Relaxed);
            let operation = match request {
                Request::Put { .. } => "put",
                Request::Delete { .. } => "delete",
                _ => return self.store.call(request).await,
            };
            let key = request.key();
            let before = self.entry(key);
            let answer = self.store.call(request).await;
            if answer.is_ok() && !key.starts_with("migration_my-service_") {
                let change = change(key, operation, &json(before), &json(self.entry(key)));
                self.changes.lock().unwrap().push(change);
            }
            answer
        })
    }
}

fn all() -> DryRun {
    DryRun::new().showing(DryRun::MAX_SHOWN).with_values()
}

fn dry_run(runner: &Runner, dry_run: &DryRun) -> DryRunReport {
    block_on(runner.dry_run(dry_run, &())).expect("it may run")
}

/// In the order of their keys: a run works on several entries at once.
fn sorted(mut changes: Vec<DryRunChange>) -> Vec<String> {
    changes.sort_by(|a, b| a.key.cmp(&b.key));
    changes.iter().map(|change| serde_json::to_string(change).unwrap()).collect()
}

fn only(report: &DryRunReport) -> &DryRunMigration {
    let [migration] = &report.migrations[..] else { panic!("{report:#?}") };
    migration
}

/// A dry run, and then a run of the same, which must do what the dry run told.
fn compare(service: &Service, migrations: &dyn Fn() -> Vec<Migration>) -> DryRunReport {
    let before = service.store.entries();
    let report = dry_run(&service.runner(migrations()), &all());
    assert_eq!(service.store.entries(), before, "nothing is written");
    assert!(report.complete && report.stopped.is_none() && report.remaining.is_empty(), "{report:#?}");
    let recorded = Recorded::new(&service.store);
    let reports = service.drive(&service.runner_on(recorded.clone(), migrations())).expect("it succeeds");
    let told = report.migrations.iter().flat_map(|migration| migration.changes.clone()).collect();
    assert_eq!(sorted(told), sorted(recorded.changes.lock().unwrap().clone()));
    let ran: Vec<String> = reports.into_iter().flat_map(|report| report.ran).collect();
    let ids: Vec<String> = report.migrations.iter().map(|migration| migration.id.clone()).collect();
    assert_eq!(ids, ran);
    report
}

fn plain() -> Migration {
    Migration::new("plain", "", async |kv, (): &()| {
        kv.put("flag", "on").await?;
        kv.delete("user_0").await?;
        let number = kv.text("number").await?.unwrap_or_default();
        kv.put("number", format!("{number}1")).with_expiration_ttl(100).await?;
        let mut keys = kv.list("");
        let mut listed = 0;
        while let Some(key) = keys.next().await? {
            listed += u64::from(!key.name.starts_with("migration_"));
        }
        kv.put_json("listed", &listed).clear_options().await?;
        Ok(())
    })
}

fn backfill() -> Migration {
    let verified = Backfill::new("user_", async |kv, user, (): &()| {
        match user.value().len() % 3 {
            0 => user.delete().await?,
            1 => user.put([user.value(), b"!"].concat()).await?,
            _ => kv.put(&format!("seen_{}", user.name()), "1").with_metadata(&user.name()).await?,
        }
        Ok(())
    });
    Migration::backfill("backfill", "", verified)
}

fn fold() -> Migration {
    let count = Fold::new(
        "user",
        || 0_u64,
        |sum: &mut u64, user, (): &()| {
            *sum += user.value().len() as u64;
            Ok(())
        },
        |sum, ()| {
            Ok(vec![
                FoldOutput::new("sum", sum.to_string()),
                FoldOutput::delete("flag"),
                FoldOutput::new("number", "0").keep_metadata().keep_expiration(),
            ])
        },
    );
    Migration::fold("fold", "", count)
}

fn rekey() -> Migration {
    Migration::rekey("rekey", "", Rekey::prefix("user_", "user:"))
}

fn kinds(order: &[usize]) -> Vec<Migration> {
    let all: [fn() -> Migration; 4] = [plain, backfill, fold, rekey];
    order.iter().map(|kind| all[*kind]()).collect()
}

fn entries() -> impl Strategy<Value = Vec<InitialEntry>> {
    let metadata = proptest::option::of(proptest::sample::select(vec!["1", r#"{"a":"b"}"#]));
    let entry = (
        "user_[0-9a-c]{1,2}|flag|number|other",
        "[a-z]{0,5}",
        metadata,
        proptest::option::of(300..90_000_u64),
    )
        .prop_map(|(key, value, metadata, ttl)| InitialEntry {
            metadata,
            ttl,
            ..InitialEntry::new(key, value)
        });
    proptest::collection::vec(entry, 0..40)
}

fn order() -> impl Strategy<Value = Vec<usize>> {
    Just((0..4).collect::<Vec<_>>()).prop_shuffle().prop_flat_map(|kinds| {
        let length = kinds.len();
        (Just(kinds), 1..=length).prop_map(|(kinds, number)| kinds[..number].to_vec())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// With the smallest budget a run takes many requests, and so does a dry run inside.
    #[test]
    fn a_dry_run_of_any_migrations_tells_what_a_run_does(entries in entries(), order in order()) {
        compare(&Service::holding(&entries, 20_000), &|| kinds(&order));
    }
}

fn users(number: usize) -> Vec<InitialEntry> {
    (0..number).map(|user| InitialEntry::new(format!("user_{user:04}"), "a".repeat(user % 7))).collect()
}

#[test]
fn a_dry_run_gets_to_the_end_where_a_run_takes_many_requests() {
    let service = Service::holding(&users(40), 75);
    let report = compare(&service, &|| kinds(&[3]));
    let rekey = only(&report);
    assert!(rekey.requests > 3 && report.requests == rekey.requests, "{}", rekey.requests);
    assert!(report.skipped_waits_ms >= 180_000, "{}", report.skipped_waits_ms);
    assert!(report.operations > 2 * report.operations_sent, "{report:#?}");
    assert_eq!((rekey.writes, rekey.deletes), (40, 40));
}

/// Whatever the budget, as many operations and requests as a run takes without latency, and what they cost.
#[test]
fn operations_requests_and_cost_are_those_of_a_run() {
    for operations in [70, 300, 20_000] {
        let service = Service::holding(&users(60), operations);
        let report = dry_run(&service.runner(kinds(&[0, 1, 2])), &DryRun::new());
        let recorded = Recorded::new(&service.store);
        let reports = service.drive(&service.runner_on(recorded.clone(), kinds(&[0, 1, 2]))).unwrap();
        let told = (report.requests, report.operations);
        let made = reports.iter().map(|report| report.operations).sum::<u64>();
        assert_eq!(told, (reports.len() as u64, made), "{operations}");
        let millionths = recorded.cost.load(Ordering::Relaxed).div_ceil(2);
        assert_eq!(report.usd, format!("0.{millionths:06}"), "{operations}");
    }
}

#[test]
fn what_is_read_for_a_backfill_is_not_read_again_before_it_is_written() {
    let service = Service::holding(&users(700), 900);
    let before = service.store.operations();
    let report = dry_run(&service.runner(kinds(&[1])), &all());
    assert!(report.complete);
    assert_eq!(report.operations_sent, service.store.operations() - before);
    // The markers twice, two lists, and a hundred values an operation; `seen_…` is looked up.
    let seen = only(&report).changes.iter().filter(|change| change.key.starts_with("seen_")).count() as u64;
    assert!(report.operations_sent < 20 + seen, "{} {seen}", report.operations_sent);
}

#[test]
fn a_dry_run_resumes_from_the_checkpoint_and_leaves_it() {
    let service = filled(300);
    let long = || Migration::backfill("long", "", marking());
    block_on(service.runner(vec![long()]).run_pending_until(&Until::Entries(100), &(), &|_| {})).unwrap();
    let before = service.store.entries();
    let report = dry_run(&service.runner(vec![long()]), &all());
    assert_eq!(service.store.entries(), before);
    assert_eq!((only(&report).writes, only(&report).entries.map(|entries| entries.seen)), (200, Some(300)));
}
