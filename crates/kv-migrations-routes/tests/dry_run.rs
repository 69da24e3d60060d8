//! The route of dry runs, natively: where it is, what it takes, and what it answers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use futures::executor::block_on;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kv_migrations::Migration;
use kv_migrations::kv::MemoryStore;
use kv_migrations_routes::{Body, MigrationRoutes, migration_routes_with_context};
use serde_json::{Value, json};
use tower_service::Service;

fn routes(store: &MemoryStore, prefix: &str) -> MigrationRoutes<()> {
    let migration = |id: &'static str| {
        Migration::new(id, "", async move |kv, (): &()| {
            kv.put("last", id).await?;
            if id == "003" { Err("not yet".into()) } else { Ok(()) }
        })
    };
    let migrations = ["001", "002", "003"].map(migration).into();
    migration_routes_with_context(store.clone(), prefix, migrations, || Ok(())).without_auth()
}

fn ask(routes: &MigrationRoutes<()>, method: Method, uri: &str, body: &str) -> (u16, Value) {
    let request = Request::builder().method(method).uri(uri).body(body.to_owned()).expect("it is a request");
    let response: Response<Body> = block_on(routes.clone().call(request)).expect("it is answered");
    let status = response.status().as_u16();
    let body = block_on(response.into_body().collect()).expect("our bodies cannot fail").to_bytes();
    (status, serde_json::from_slice(&body).expect("it is JSON"))
}

fn post(routes: &MigrationRoutes<()>, uri: &str) -> (u16, Value) {
    ask(routes, Method::POST, uri, "")
}

fn problem(name: &str) -> Value {
    json!(format!("urn:kv-migrations:problem:{name}"))
}

#[test]
fn a_dry_run_tells_what_would_change_and_changes_nothing() {
    let store = MemoryStore::new();
    store.insert("last", "000");
    let routes = routes(&store, "dry-run").with_base_path("/admin").with_dry_run();
    let (status, report) = post(&routes, "/admin/migrations/dry-run?to=002&values=true");
    assert_eq!(status, 200, "{report}");
    assert_eq!((&report["complete"], &report["remaining"]), (&json!(true), &json!([])));
    assert_eq!(report["pricesAsOf"], json!("2026-11-28"));
    let change = |id, before, after| {
        json!({
            "id": id, "kind": "plain", "complete": true, "writes": 1, "deletes": 0, "bytes": 3, "usd": "0.000005",
            "operations": 3, "requests": 1,
            "changes": [{
                "key": "last", "operation": "put",
                "before": { "bytes": 3, "value": before }, "after": { "bytes": 3, "value": after },
            }],
            "findings": [],
        })
    };
    assert_eq!(report["migrations"], json!([change("001", "000", "001"), change("002", "001", "002")]));
    assert_eq!(store.entries().len(), 1);
    assert_eq!(store.value("last").unwrap(), b"000");
}

#[test]
fn a_failure_is_told_with_200_and_the_rest_is_not_run() {
    let store = MemoryStore::new();
    let routes = routes(&store, "dry-run-failing").with_dry_run();
    let (status, report) = post(&routes, "/migrations/dry-run?only=003");
    assert_eq!((status, &report["complete"], &report["stopped"]), (200, &json!(false), &json!("failed")));
    assert_eq!(
        (&report["migrations"][0]["error"], &report["remaining"]),
        (&json!("not yet"), &json!(["003"]))
    );
    assert_eq!(store.entries().len(), 0);
}

#[test]
fn without_with_dry_run_there_is_no_such_route() {
    let routes = routes(&MemoryStore::new(), "dry-run-off");
    let (status, body) = post(&routes, "/migrations/dry-run");
    assert_eq!((status, &body["type"]), (404, &problem("not-found")));
}

#[test]
fn what_a_dry_run_does_not_take_is_refused() {
    let store = MemoryStore::new();
    let routes = routes(&store, "dry-run-refused").with_dry_run();
    for (method, uri, body, status, name) in [
        (Method::POST, "/migrations/dry-run?to=009", "", 404, "unknown-migration"),
        (Method::POST, "/migrations/dry-run?only=009", "", 404, "unknown-migration"),
        (Method::POST, "/migrations/dry-run?expect=009", "", 503, "release-mismatch"),
        (Method::POST, "/migrations/dry-run?show=0", "", 400, "invalid-query"),
        (Method::POST, "/migrations/dry-run?by=me", "", 400, "invalid-query"),
        (Method::POST, "/migrations/dry-run", "{}", 400, "unexpected-content"),
        (Method::GET, "/migrations/dry-run", "", 405, "method-not-allowed"),
        (Method::POST, "/migrate?dry-run", "", 400, "invalid-query"),
        (Method::POST, "/migrate?dry-run=true", "", 400, "invalid-query"),
    ] {
        let (answered, problem_of) = ask(&routes, method, uri, body);
        assert_eq!((answered, &problem_of["type"]), (status, &problem(name)), "{uri}: {problem_of}");
    }
    assert_eq!(store.entries().len(), 0, "nothing ran");
}
