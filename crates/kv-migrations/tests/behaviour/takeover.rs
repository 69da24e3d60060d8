//! Taking over a namespace from the TypeScript runner, and the way back. The namespace and the answers are real
//! ones: see `tests/workerd/fixtures` in the repository. Here they are cut down to what the runner sees.

use futures::executor::block_on;

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
fn what_the_typescript_runner_ran_does_not_run_again() {
    let service = taken_over();
    let ran = service.migrate(vec![good("001_add_feature"), good("002_by_script"), good("003_unset")]);
    assert_eq!(ran, ids(&["003_unset"]));
}

#[test]
fn its_markers_are_left_as_they_are() {
    let service = taken_over();
    let before = service.store.entries();
    service.migrate(vec![good("001_add_feature"), good("002_by_script")]);
    assert_eq!(service.store.entries(), before);
}

#[test]
fn when_it_ran_is_known_where_the_marker_tells() {
    let runner = taken_over().runner(vec![good("001_add_feature"), good("002_by_script")]);
    let status = block_on(runner.status()).unwrap();
    assert_eq!(status[0].run_at.as_deref(), Some("2026-11-22T10:48:28.706Z"));
    assert_eq!(status[1].run_at, None);
}

#[test]
fn the_typescript_runner_reads_our_markers_as_run() {
    let service = Service::new();
    service.migrate(vec![good("001")]);
    // Its rule: `value === 'true'`, and `runAt` in the metadata.
    assert_eq!(service.text("migration_my-service_001").as_deref(), Some("true"));
    let metadata: serde_json::Value = serde_json::from_str(&service.marker("001").unwrap()).unwrap();
    assert_eq!(metadata["runAt"], crate::service::START);
}
