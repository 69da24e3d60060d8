//! Costs in KV operations, counted at the store.

use std::fmt::Debug;

use futures::executor::block_on;
use kv_migrations::{Backfill, Error, Migration, Runner};

use crate::service::{Service, filled, quiet};

/// What the TypeScript runner writes beside `true`.
const TYPESCRIPT: Option<&str> = Some(r#"{"runAt":"2026-11-22T10:48:28.706Z"}"#);

fn thousand() -> Vec<Migration> {
    (0..1_000).map(|number| quiet(format!("{number:04}"))).collect()
}

/// The number of operations of `work`, which must succeed.
fn operations<T: Debug>(service: &Service, work: impl Future<Output = Result<T, Error>>) -> u64 {
    let before = service.store.operations();
    block_on(work).expect("it succeeds");
    service.store.operations() - before
}

#[test]
fn a_status_of_a_thousand_applied_migrations_costs_one_operation() {
    let service = Service::new();
    service.migrate(thousand());
    let runner = service.runner(thousand());
    assert_eq!(operations(&service, runner.status()), 1, "status");
    assert_eq!(operations(&service, runner.run_pending(&())), 1, "a run with nothing to do");
    assert_eq!(operations(&service, runner.is_run("0500")), 1, "one of them");
}

/// A service with this many markers that this runner did not write.
fn with_foreign_markers(count: usize, value: &str, metadata: Option<&str>) -> (Service, Runner) {
    let service = Service::new();
    for number in 0..count {
        service.put(&format!("migration_my-service_{number:04}"), value, metadata);
    }
    let runner = service.runner((0..count).map(|number| quiet(format!("{number:04}"))).collect());
    (service, runner)
}

#[test]
fn a_status_costs_one_operation_more_per_hundred_markers_of_the_typescript_runner() {
    let (service, runner) = with_foreign_markers(1_000, "true", TYPESCRIPT);
    assert_eq!(operations(&service, runner.status()), 11);
    let (service, runner) = with_foreign_markers(250, "true", TYPESCRIPT);
    assert_eq!(operations(&service, runner.status()), 4);
    assert_eq!(operations(&service, runner.run_pending(&())), 4, "a run with nothing to do");
}

#[test]
fn a_status_reads_each_of_the_first_hundred_markers_once_more_that_were_set_by_hand() {
    for (count, expected) in [(1, 1 + 1 + 1), (100, 1 + 1 + 100), (250, 1 + 3 + 100)] {
        let (service, runner) = with_foreign_markers(count, "true", None);
        assert_eq!(operations(&service, runner.status()), expected, "{count} markers");
    }
    let (service, runner) = with_foreign_markers(150, "false", None);
    assert_eq!(operations(&service, runner.status()), 3, "only `true` is worth a second look");
}

#[test]
fn a_run_costs_one_operation_and_one_per_marker() {
    let service = Service::new();
    service.migrate(vec![quiet("000")]);
    let runner = service.runner(vec![quiet("000"), quiet("001"), quiet("002")]);
    assert_eq!(operations(&service, runner.run_pending(&())), 3);
    assert_eq!(operations(&service, runner.is_run("001")), 1);
}

#[test]
fn the_first_run_of_a_service_costs_one_operation_more_because_it_looks_at_other_prefixes() {
    let service = Service::new();
    let runner = service.runner(vec![quiet("001"), quiet("002")]);
    assert_eq!(operations(&service, runner.run_pending(&())), 4);
}

#[test]
fn a_backfill_counts_its_entries_for_one_operation_per_thousand() {
    for (entries, pages) in [(0, 1), (1, 1), (1_000, 1), (2_500, 3), (5_000, 5)] {
        let service = filled(entries);
        let backfill = Backfill::new("user_", async |_, _, ()| Ok(()));
        let runner = service.runner(vec![Migration::backfill("001", "", backfill)]);
        // By four at first, while nobody knows how large values are. A read ends with its page.
        let reads = match entries {
            0 => 0,
            1..=4 => 1,
            _ => 1 + u64::from((entries - 4).div_ceil(100)),
        };
        // The ledger, another prefix, the checkpoint that may be there, and the marker; and a first step that is recorded
        // early, where more is left to do.
        let expected = 4 + pages + pages + reads + u64::from(entries > 1);
        assert_eq!(operations(&service, runner.run_pending(&())), expected, "{entries} entries");
    }
}

#[test]
fn a_request_that_is_refused_costs_no_operation() {
    let service = Service::new();
    let runner = Runner::new(service.store.clone(), "", vec![quiet("001")]);
    runner.expect_err("the prefix is empty");
    let rollback = block_on(async { service.runner(vec![quiet("001")]).rollback("unknown", &()).await });
    assert!(matches!(rollback, Err(Error::UnknownMigration { .. })), "{rollback:?}");
    assert_eq!(service.store.operations(), 0);
}
