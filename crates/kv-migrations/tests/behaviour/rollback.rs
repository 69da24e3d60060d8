//! Rolling back: `down` first, then the marker.

use futures::executor::block_on;
use kv_migrations::{BoxError, Error, Migration, Stage};

use crate::service::{Service, failure, good, ids, quiet};

#[test]
fn after_a_rollback_the_next_run_applies_it_again() {
    let service = Service::new();
    let migrations = || vec![good("001"), good("002")];
    service.migrate(migrations());

    let report = block_on(service.runner(migrations()).rollback("001", &())).unwrap();
    assert_eq!(report.rolled_back.as_deref(), Some("001"));
    assert_eq!(service.text("done/001"), None);
    assert_eq!(service.text("migration_my-service_001"), None);
    assert_eq!(service.text("migration_my-service_002").unwrap(), "true");
    assert_eq!(service.migrate(migrations()), ids(&["001"]));
}

#[test]
fn a_rollback_that_is_impossible_says_why() {
    let service = Service::new();
    let runner = service.runner(vec![good("001"), quiet("002")]);
    let error = |id: &str| block_on(runner.rollback(id, &())).expect_err("it must be refused");

    let not_run = error("001");
    assert!(matches!(not_run, Error::NotRun { .. }));
    assert_eq!(not_run.to_string(), "Migration 001 has not been run - cannot rollback");
    block_on(runner.run_pending(&())).unwrap();
    let irreversible = error("002");
    assert!(matches!(irreversible, Error::Irreversible { .. }));
    assert_eq!(irreversible.to_string(), "Migration 002 does not implement down() - cannot rollback");
    assert!(matches!(error("003"), Error::UnknownMigration { .. }));
    assert!(block_on(runner.is_run("002")).unwrap(), "nothing was changed");
}

/// The TypeScript runner looks for a `down` first.
#[test]
fn a_migration_that_is_neither_run_nor_reversible_has_no_down() {
    let service = Service::new();
    let runner = service.runner(vec![quiet("001")]);
    let error = block_on(runner.rollback("001", &())).unwrap_err();
    assert_eq!(error.to_string(), "Migration 001 does not implement down() - cannot rollback");
    assert_eq!(service.store.operations(), 0, "its marker does not matter");
}

#[test]
fn a_down_that_fails_leaves_it_applied() {
    let service = Service::new();
    let broken = || {
        Migration::new("001", "", async |_, ()| Ok(())).with_down(async |_, ()| Err(BoxError::from("boom")))
    };
    service.migrate(vec![broken()]);
    let failure = failure(block_on(service.runner(vec![broken()]).rollback("001", &())));
    assert_eq!(failure.to_string(), "Rollback of migration 001 failed: boom");
    assert_eq!(failure.stage, Stage::Down);
    assert!(block_on(service.runner(vec![broken()]).is_run("001")).unwrap());
}

/// KV may show a marker that another rollback has deleted: written again, it would count as applied.
#[test]
fn a_down_that_fails_writes_no_marker() {
    let service = Service::new();
    let broken = || quiet("001").with_down(async |_, ()| Err(BoxError::from("boom")));
    service.migrate(vec![broken()]);
    let before = service.store.entries();
    failure(block_on(service.runner(vec![broken()]).rollback("001", &())));
    assert_eq!(service.store.entries(), before);
}

#[test]
fn a_down_that_fails_leaves_a_marker_that_was_set_by_hand() {
    let service = Service::new();
    service.put("migration_my-service_001", "true", None);
    let before = service.store.entries();
    let broken = quiet("001").with_down(async |_, ()| Err(BoxError::from("boom")));
    failure(block_on(service.runner(vec![broken]).rollback("001", &())));
    assert_eq!(service.store.entries(), before);
}

#[test]
fn a_marker_with_another_value_than_true_cannot_be_rolled_back() {
    let service = Service::new();
    service.put("migration_my-service_001", "false", None);
    let error = block_on(service.runner(vec![good("001")]).rollback("001", &())).unwrap_err();
    assert!(matches!(error, Error::NotRun { .. }), "{error}");
}
