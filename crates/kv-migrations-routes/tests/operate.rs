//! Requests that change the ledger, natively: what they answer, and what they refuse.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use futures::executor::block_on;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kv_migrations::kv::MemoryStore;
use kv_migrations::{Budget, Migration};
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
fn a_brief_answer_leaves_out_what_was_skipped() {
    let store = MemoryStore::new();
    post(&routes(&store, "brief", &["001", "002"]), "/migrate");
    let routes = routes(&store, "brief", &["001", "002", "003"]);
    let (status, body) = post(&routes, "/migrate?brief=true&require=up-to-date");
    assert_eq!((status, &body["ran"], &body["skipped"]), (200, &json!(["003"]), &json!([])));
    assert_eq!(post(&routes, "/migrate").1["skipped"], json!(["001", "002", "003"]));
    assert_eq!(post(&routes, "/migrate?brief=yes").0, 400);
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

#[test]
fn several_migrations_are_rolled_back_by_one_request_and_a_repetition_does_nothing() {
    let store = MemoryStore::new();
    let routes = routes(&store, "several", &["001", "002", "003", "004"]);
    assert_eq!(post(&routes, "/migrate").0, 200);
    let (status, body) = post(&routes, "/migrations/rollback?to=002&by=me");
    assert_eq!(
        (status, &body["rolledBack"], &body["to"]),
        (200, &json!(["004", "003"]), &json!("002")),
        "{body}"
    );
    assert_eq!((&body["remaining"], body.get("continue")), (&json!([]), None));
    let again = post(&routes, "/migrations/rollback?to=002");
    assert_eq!((again.0, again.1.get("rolledBack")), (200, None), "{again:?}");
    assert_eq!(post(&routes, "/migrations/rollback?steps=1").1["rolledBack"], json!(["002"]));
    assert_eq!(post(&routes, "/migrations/rollback?steps=all").1["rolledBack"], json!(["001"]));
    assert!(store.entries().is_empty(), "{:?}", store.entries());
}

#[test]
fn what_is_not_finished_says_how_it_is_continued_and_refuses_a_number_of_steps_until_then() {
    let store = MemoryStore::new();
    let budget = Budget::default().with_operations(8);
    let routes = routes(&store, "continued", &["a/1", "a/2", "a/3", "a/4"]);
    assert_eq!(post(&routes, "/migrate").0, 200);
    let small = routes.clone().with_runner(move |runner| runner.with_budget(budget));
    let (status, body) = post(&small, "/migrations/rollback?steps=3");
    assert_eq!((status, &body["continue"]), (202, &json!("/migrations/rollback?to=a%2F1")), "{body}");
    let (status, refused) = post(&small, "/migrations/rollback?steps=3");
    assert_eq!((status, &refused["type"]), (409, &problem("rollback-unfinished")));
    assert_eq!(refused["continue"], body["continue"]);
    let mut requests = 0;
    while post(&small, body["continue"].as_str().expect("it is a path")).0 == 202 {
        requests += 1;
        assert!(requests < 10, "it does not come to an end");
    }
    let (_, all) = ask(&routes, Method::GET, "/migrations/status");
    let run: Vec<_> = all.as_array().expect("a list").iter().map(|status| status["run"].clone()).collect();
    assert_eq!(run, [json!(true), json!(false), json!(false), json!(false)]);
}

#[test]
fn a_rollback_that_fails_says_what_was_rolled_back_before() {
    let broken =
        || Migration::new("001", "", async |_, (): &()| Ok(())).with_down(async |_, ()| Err("boom".into()));
    let good = || Migration::new("002", "", async |_, (): &()| Ok(())).with_down(async |_, ()| Ok(()));
    let routes =
        migration_routes_with_context(MemoryStore::new(), "broken-down", vec![broken(), good()], || Ok(()));
    let routes = routes.without_auth();
    assert_eq!(post(&routes, "/migrate").0, 200);
    let (status, body) = post(&routes, "/migrations/rollback?steps=all");
    assert_eq!((status, &body["type"]), (500, &problem("rollback-failed")));
    assert_eq!((&body["rolledBack"], &body["migration"]), (&json!(["002"]), &json!("001")), "{body}");
    let (status, body) = post(&routes, "/migrations/rollback?steps=1");
    assert_eq!((status, &body["continue"]), (409, &json!("/migrations/rollback?steps=all")), "{body}");
}

#[test]
fn what_cannot_be_rolled_back_is_refused_with_a_documented_problem() {
    let store = MemoryStore::new();
    let with = |ids: &[&'static str]| routes(&store, "refused-rollbacks", ids);
    assert_eq!(post(&with(&["001", "003"]), "/migrate").0, 200);
    let refused = |ids: &[&'static str], query: &str, status: u16, name: &str| {
        let (answered, body) = post(&with(ids), &format!("/migrations/rollback{query}"));
        assert_eq!((answered, &body["type"]), (status, &problem(name)), "{query}: {body}");
    };
    refused(&["001", "002", "003"], "?to=004", 404, "unknown-migration");
    refused(&["001", "002", "003"], "?to=002", 409, "not-run");
    refused(&["001", "002"], "?to=001", 409, "not-registered");
    for query in
        ["", "?steps=0", "?to=001&steps=1", "?entries=1", "?steps=all&steps=all", "?to=001&wait=true"]
    {
        refused(&["001", "003"], query, 400, "invalid-query");
    }
    assert_eq!(ask(&with(&["001"]), Method::GET, "/migrations/rollback?to=001").0, 405);
    assert_eq!(store.entries().len(), 4, "nothing was changed");
}

#[test]
fn who_asks_for_a_run_stands_in_the_markers_of_what_it_applied() {
    let store = MemoryStore::new();
    let routes = routes(&store, "labels", &["001", "rollback"]);
    assert_eq!(post(&routes, "/migrate?by=deploy%204711").0, 200);
    let markers = store.entries().into_iter().filter_map(|(key, _)| key.metadata);
    let labelled = markers.filter(|metadata| metadata.as_json().contains(r#""by":"deploy 4711""#)).count();
    assert_eq!(labelled, 2);
    let (status, body) = post(&routes, "/migrations/rollback/rollback?by=me");
    assert_eq!((status, &body["rolledBack"]), (200, &json!("rollback")), "the migration of this id");
}
