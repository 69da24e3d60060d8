//! Taking over a namespace from the TypeScript runner. Real markers of that runner are in `tests/workerd/fixtures`.

use futures::executor::block_on;

use kv_migrations::State;

use crate::service::{Service, good, ids};

fn taken_over() -> Service {
    let service = Service::new();
    service.put(
        "migration_my-service_001_add_feature",
        "true",
        Some(r#"{"runAt":"2026-11-22T10:48:28.706Z"}"#),
    );
    service.put("migration_my-service_002_by_script", "true", None);
    service.put("migration_my-service_003_unset", "false", None);
    service
}

#[test]
fn migrations_of_the_typescript_runner_do_not_run_again() {
    let service = taken_over();
    let ran = service.migrate(vec![good("001_add_feature"), good("002_by_script"), good("003_unset")]);
    assert_eq!(ran, ids(&["003_unset"]));
}

#[test]
fn a_run_leaves_the_markers_of_the_typescript_runner_unchanged() {
    let service = taken_over();
    let before = service.store.entries();
    service.migrate(vec![good("001_add_feature"), good("002_by_script")]);
    assert_eq!(service.store.entries(), before);
}

/// The dashboard changes the value of a key, and leaves its metadata.
#[test]
fn a_marker_of_the_typescript_runner_that_an_operator_set_to_false_runs_again() {
    let service = taken_over();
    let run_at = Some(r#"{"runAt":"2026-11-22T10:48:28.706Z"}"#);
    service.put("migration_my-service_001_add_feature", "false", run_at);
    let runner = service.runner(vec![good("001_add_feature")]);
    let status = block_on(runner.status()).unwrap();
    assert_eq!((status[0].run, status[0].state), (false, State::Pending));
    assert_eq!(status[0].run_at, None, "when it ran does not matter any more");
    assert_eq!(service.migrate(vec![good("001_add_feature")]), ids(&["001_add_feature"]));
    assert!(block_on(runner.status()).unwrap()[0].run);
}

#[test]
fn the_status_has_run_at_where_the_marker_has_it() {
    let runner = taken_over().runner(vec![good("001_add_feature"), good("002_by_script")]);
    let status = block_on(runner.status()).unwrap();
    assert_eq!(status[0].run_at.as_deref(), Some("2026-11-22T10:48:28.706Z"));
    assert_eq!(status[1].run_at, None);
}
