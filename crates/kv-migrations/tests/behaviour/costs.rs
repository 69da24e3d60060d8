//! Costs in KV operations, counted at the store.

use std::fmt::Debug;

use futures::executor::block_on;
use kv_migrations::{Error, Migration};

use crate::service::{Service, quiet};

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

#[test]
fn a_status_of_markers_of_the_typescript_runner_costs_one_operation() {
    let service = Service::new();
    for number in 0..1_000 {
        let metadata = Some(r#"{"runAt":"2026-11-22T10:48:28.706Z"}"#);
        service.put(&format!("migration_my-service_{number:04}"), "true", metadata);
    }
    let runner = service.runner(thousand());
    assert_eq!(operations(&service, runner.status()), 1);
}

#[test]
fn a_status_costs_one_operation_more_per_hundred_markers_without_metadata() {
    let service = Service::new();
    for number in 0..150 {
        service.put(&format!("migration_my-service_{number:04}"), "true", None);
    }
    let runner = service.runner((0..150).map(|number| quiet(format!("{number:04}"))).collect());
    assert_eq!(operations(&service, runner.status()), 3);
}

#[test]
fn a_run_costs_one_operation_and_one_per_marker() {
    let service = Service::new();
    let runner = service.runner(vec![quiet("001"), quiet("002")]);
    assert_eq!(operations(&service, runner.run_pending(&())), 3);
    assert_eq!(operations(&service, runner.is_run("001")), 1);
}

#[test]
fn a_request_that_is_refused_costs_no_operation() {
    let service = Service::new();
    let runner = kv_migrations::Runner::new(service.store.clone(), "", vec![quiet("001")]);
    runner.expect_err("the prefix is empty");
    let rollback = block_on(async { service.runner(vec![quiet("001")]).rollback("unknown", &()).await });
    assert!(matches!(rollback, Err(Error::UnknownMigration { .. })), "{rollback:?}");
    assert_eq!(service.store.operations(), 0);
}
