//! Rolling back: `down` first, then the marker.

use futures::executor::block_on;
use kv_migrations::{BoxError, Error, Migration, Stage, State};

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

#[test]
fn a_down_that_fails_is_in_the_status_until_the_migration_is_rolled_back() {
    let broken = || quiet("001").with_down(async |_, ()| Err(BoxError::from("boom")));
    let mended = || quiet("001").with_down(async |_, ()| Ok(()));
    let status = |service: &Service, migration| {
        let statuses = block_on(service.runner(vec![migration]).status()).unwrap();
        statuses.into_iter().next().expect("it is registered")
    };
    let typescript = r#"{"runAt":"2025-01-01T00:00:00.000Z"}"#;
    for applied_by_typescript in [false, true] {
        let service = Service::new();
        if applied_by_typescript {
            service.put("migration_my-service_001", "true", Some(typescript));
        } else {
            service.migrate(vec![broken()]);
        }
        let before = status(&service, broken());
        failure(block_on(service.runner(vec![broken()]).rollback("001", &())));
        let mut after = status(&service, broken());
        assert_eq!((after.state, after.error.as_deref()), (State::Applied, Some("boom")));
        after.error = None;
        assert_eq!(after, before, "nothing else has changed");
        let report = block_on(service.runner(vec![broken()]).run_pending(&())).unwrap();
        assert_eq!(report.skipped, ids(&["001"]), "it is applied");

        block_on(service.runner(vec![mended()]).rollback("001", &())).expect("it is mended");
        assert_eq!(status(&service, mended()).error, None);
    }
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
