//! Requests that change the ledger, natively: what they answer, and what they refuse.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use futures::executor::block_on;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kv_migrations::Migration;
use kv_migrations::kv::MemoryStore;
use kv_migrations_routes::{Body, MigrationRoutes, migration_routes_with_context};
use serde_json::{Value, json};
use tower_service::Service;

/// Routes that are open. The prefix is the test's: runs of the same service exclude each other.
fn routes(store: &MemoryStore, prefix: &str, ids: &[&'static str]) -> MigrationRoutes<()> {
    let migration = |id: &&'static str| {
        let (id, key) = (*id, format!("done/{id}"));
        let undone = key.clone();
        Migration::new(id, "", async move |kv, (): &()| Ok(kv.put(&key, "x").await?))
            .with_down(async move |kv, (): &()| Ok(kv.delete(&undone).await?))
    };
    let migrations: Vec<Migration<()>> = ids.iter().map(migration).collect();
    migration_routes_with_context(store.clone(), prefix, migrations, || Ok(())).without_auth()
}

fn ask(routes: &MigrationRoutes<()>, method: Method, uri: &str) -> (u16, Value) {
    let request = Request::builder().method(method).uri(uri).body(String::new()).expect("it is a request");
    let response: Response<Body> = block_on(routes.clone().call(request)).expect("it is answered");
    let status = response.status().as_u16();
    let body = block_on(response.into_body().collect()).expect("our bodies cannot fail").to_bytes();
    (status, serde_json::from_slice(&body).expect("it is JSON"))
}

fn post(routes: &MigrationRoutes<()>, uri: &str) -> (u16, Value) {
    ask(routes, Method::POST, uri)
}

fn problem(name: &str) -> Value {
    json!(format!("urn:kv-migrations:problem:{name}"))
}

#[test]
fn a_migration_is_marked_and_unmarked_by_requests() {
    let store = MemoryStore::new();
    let routes = routes(&store, "marks", &["001", "002"]);
    let (status, body) = post(&routes, "/migrations/001/mark?by=deploy%201");
    assert_eq!((status, &body["id"], &body["state"]), (200, &json!("001"), &json!("applied")));
    let (_, all) = ask(&routes, Method::GET, "/migrations/status");
    assert_eq!(all[0], body, "the answer is the status");
    let (key, _) = store.entries().remove(0);
    let metadata = key.metadata.expect("this runner wrote it");
    assert!(metadata.as_json().ends_with(r#""by":"deploy 1"}"#), "{metadata:?}");

    let (status, body) = post(&routes, "/migrate");
    assert_eq!((status, &body["ran"], &body["skipped"]), (200, &json!(["002"]), &json!(["001"])));
    let (status, body) = post(&routes, "/migrations/001/unmark");
    assert_eq!((status, &body["state"], &body["run"]), (200, &json!("pending"), &json!(false)));
    assert_eq!(post(&routes, "/migrate").1["ran"], json!(["001"]));
}

#[test]
fn what_cannot_be_marked_or_unmarked_is_refused_with_a_documented_problem() {
    let store = MemoryStore::new();
    let routes = routes(&store, "refused-marks", &["001"]);
    let refused = |uri: &str, status: u16, name: &str| {
        let (answered, body) = post(&routes, uri);
        assert_eq!((answered, &body["type"]), (status, &problem(name)), "{uri}: {body}");
    };
    refused("/migrations/001/unmark", 409, "not-run");
    refused("/migrations/nobody/unmark", 404, "unknown-migration");
    refused("/migrations/nobody/mark", 404, "unknown-migration");
    refused("/migrations/001/mark?by=", 400, "invalid-query");
    refused("/migrations/001/mark?wait=true", 400, "invalid-query");
    refused("/migrations/001/unmark?force", 400, "invalid-query");
    assert_eq!(ask(&routes, Method::GET, "/migrations/001/mark").0, 405);
    assert_eq!(store.entries().len(), 0, "nothing was changed");
}

#[test]
fn a_baseline_marks_up_to_a_migration_and_can_be_asked_for_again() {
    let store = MemoryStore::new();
    let routes = routes(&store, "baseline", &["001", "002", "003"]);
    let (status, body) = post(&routes, "/migrations/baseline?to=002&by=me");
    assert_eq!(
        (status, &body["marked"], &body["remaining"]),
        (200, &json!(["001", "002"]), &json!([])),
        "{body}"
    );
    let (status, body) = post(&routes, "/migrations/baseline?to=002");
    assert_eq!((status, &body["skipped"], &body["beyond"]), (200, &json!(["001", "002"]), &json!(["003"])));
    assert_eq!(post(&routes, "/migrate").1["ran"], json!(["003"]));

    let (status, body) = post(&routes, "/migrations/baseline?to=004");
    assert_eq!((status, &body["type"]), (404, &problem("unknown-migration")));
    let (status, body) = post(&routes, "/migrations/baseline");
    assert_eq!((status, &body["type"]), (400, &problem("invalid-query")));
}
