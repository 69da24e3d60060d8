//! What a run on the free plan does in a request: little enough for its 10 ms of processor time.

use kv_migrations::{Backfill, Budget, Fold, FoldOutput, Migration, Rekey, RunReport, Runner};

use crate::service::{InitialEntry, Service, filled, marked, marking};

const MAX_ENTRIES: u64 = 100;

fn on_free_plan(service: &Service, migration: Migration) -> Runner {
    service.runner(vec![migration]).with_budget(Budget::free_plan())
}

/// How many entries each request was at.
fn entries_of(reports: &[RunReport]) -> Vec<u64> {
    let entries = |report: &RunReport| {
        let counts = report.details.first().and_then(|applied| applied.entries);
        counts.or_else(|| Some(report.progress.as_ref()?.entries)).map_or(0, |entries| entries.seen)
    };
    let mut before = 0;
    let all = reports.iter().map(entries);
    all.map(|seen| seen - std::mem::replace(&mut before, seen)).collect()
}

#[test]
fn a_backfill_changes_a_hundred_entries_in_a_request() {
    let service = filled(1_000);
    let runner = on_free_plan(&service, Migration::backfill("001", "", marking()));
    let reports = service.drive(&runner).unwrap();
    assert_eq!(marked(&service.store), 1_000);
    let entries = entries_of(&reports);
    assert!(entries.iter().all(|entries| *entries <= MAX_ENTRIES), "{entries:?}");
    assert!(reports.len() < 20, "and not much less: {entries:?}");
    assert!(reports.iter().all(|report| report.operations <= 166), "{reports:?}");
}

#[test]
fn a_fold_reads_a_hundred_entries_in_a_request_though_that_takes_few_operations() {
    let service = filled(1_000);
    let count = Fold::new(
        "user_",
        || 0_u64,
        |count, _, ()| {
            *count += 1;
            Ok(())
        },
        |count, ()| Ok(vec![FoldOutput::json("count", count)?]),
    );
    let runner = on_free_plan(&service, Migration::fold("001", "", count));
    let reports = service.drive(&runner).unwrap();
    assert_eq!(service.text("count").as_deref(), Some("1000"));
    let entries = entries_of(&reports);
    assert!(entries.iter().all(|entries| *entries <= MAX_ENTRIES), "{entries:?}");
}

#[test]
fn batches_bound_a_request_too() {
    let service = filled(500);
    let copy = Backfill::in_batches("user_", 30, async |_, _, ()| Ok(()));
    let runner = on_free_plan(&service, Migration::backfill("001", "", copy));
    let entries = entries_of(&service.drive(&runner).unwrap());
    // A batch that has begun is done.
    assert!(entries.iter().all(|entries| *entries < MAX_ENTRIES + 30), "{entries:?}");
    assert_eq!(entries.iter().sum::<u64>(), 500);
}

#[test]
fn large_values_make_fewer_entries() {
    let entries: Vec<_> =
        (0..60).map(|number| InitialEntry::new(format!("user_{number:05}"), "x".repeat(100_000))).collect();
    let service = Service::holding(&entries, 900);
    let runner = on_free_plan(&service, Migration::backfill("001", "", marking()));
    let reports = service.drive(&runner).unwrap();
    assert_eq!(marked(&service.store), 60);
    let entries = entries_of(&reports);
    // As many as begin at once may be under way when the last byte of the budget is read.
    assert!(entries.iter().all(|entries| *entries <= 6 + 12), "512 KiB of values of 100 kB: {entries:?}");
}

#[test]
fn keys_that_are_only_listed_are_bounded() {
    let service = filled(20_000);
    let few = Backfill::new("user_", async |_, _, ()| Ok(())).only(|key| key.name.ends_with("9999"));
    let runner = on_free_plan(&service, Migration::backfill("001", "", few));
    let reports = service.drive(&runner).unwrap();
    assert!(reports.len() > 12, "20,000 keys, listed twice, are 40 pages: {} requests", reports.len());
    assert!(reports.iter().all(|report| report.operations < 12), "{reports:?}");
}

#[test]
fn a_rekey_comes_to_its_end() {
    let service = filled(400);
    let runner = on_free_plan(&service, Migration::rekey("001", "", Rekey::prefix("user_", "user:")));
    let reports = service.drive(&runner).unwrap();
    assert!(reports.iter().all(|report| report.operations <= 166), "{reports:?}");
    let keys = service.store.entries();
    assert_eq!(keys.iter().filter(|(key, _)| key.name.starts_with("user:")).count(), 400);
    assert_eq!(keys.iter().filter(|(key, _)| key.name.starts_with("user_")).count(), 0);
}
