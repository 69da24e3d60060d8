//! The routes as a service and as a layer, natively: what costs nothing, and what passes through.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::convert::Infallible;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use futures::executor::block_on;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kv_migrations::kv::{MemoryStore, Store};
use kv_migrations::testing::ManualClock;
use kv_migrations::testing::{Fault, faulty};
use kv_migrations::{Backfill, Budget, Migration};
use kv_migrations_routes::{Body, CoordinatorObject, MigrationRoutes, migration_routes_with_context};
use tower_layer::Layer;
use tower_service::Service;

struct Settings {
    api_url: String,
}

fn migration() -> Migration<Settings> {
    Migration::new("001_with_args", "Stores the URL", async |kv, settings: &Settings| {
        Ok(kv.put("api_url", &settings.api_url).await?)
    })
}

/// Routes that are open, on a store of their own. The prefix is the test's: runs of the same service exclude each
/// other.
fn routes(store: &MemoryStore, prefix: &str) -> MigrationRoutes<Settings> {
    let context = || Ok(Settings { api_url: "https://api.example.com".to_owned() });
    migration_routes_with_context(store.clone(), prefix, vec![migration()], context).without_auth()
}

fn request(method: Method, uri: &str) -> Request<String> {
    request_with(method, uri, "")
}

fn request_with(method: Method, uri: &str, body: &str) -> Request<String> {
    Request::builder().method(method).uri(uri).body(body.to_owned()).expect("it is a request")
}

fn content(response: Response<Body>) -> serde_json::Value {
    let body = block_on(response.into_body().collect()).expect("our bodies cannot fail").to_bytes();
    serde_json::from_slice(&body).expect("it is JSON")
}

/// A service that says what reaches it.
#[derive(Clone)]
struct Echo;

impl Service<Request<String>> for Echo {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let seen = format!("{} {} {}", request.method(), request.uri(), request.body());
        std::future::ready(Ok(Response::new(seen)))
    }
}

#[test]
fn a_context_of_ones_own_reaches_the_migrations() {
    let store = MemoryStore::new();
    let response = block_on(routes(&store, "context").call(request(Method::POST, "/migrate"))).unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(content(response)["ran"][0], "001_with_args");
    assert_eq!(store.value("api_url").unwrap(), b"https://api.example.com");
}

#[test]
fn a_context_that_cannot_be_made_is_an_answer_and_changes_nothing() {
    let store = MemoryStore::new();
    let context = || Err("API_URL is not set".into());
    let routes = migration_routes_with_context(store.clone(), "broken-context", vec![migration()], context);
    let mut routes = routes.without_auth();
    let response = block_on(routes.call(request(Method::POST, "/migrate"))).unwrap();
    assert_eq!(response.status(), 500);
    let problem = content(response);
    assert_eq!(problem["type"], "urn:kv-migrations:problem:context-failed");
    assert!(problem["detail"].as_str().unwrap().ends_with("API_URL is not set"));
    let status = block_on(routes.call(request(Method::GET, "/migrations/status"))).unwrap();
    assert_eq!(status.status(), 200, "looking needs no context");
    assert!(store.entries().is_empty());
}

#[test]
fn what_is_not_for_the_routes_costs_no_operation_and_passes_through_as_it_came() {
    let store = MemoryStore::new();
    let mut service = routes(&store, "layer").with_base_path("/admin").layer(Echo);
    for uri in ["/", "/migrate", "/migrations/status", "/admin", "/admin/other?a=b", "/admin/migrate/"] {
        let response = block_on(service.call(request_with(Method::POST, uri, "as it was"))).unwrap();
        let body = block_on(response.into_body().collect()).unwrap().to_bytes();
        assert_eq!(body, format!("POST {uri} as it was"));
    }
    assert_eq!(store.operations(), 0);
    let response = block_on(service.call(request(Method::POST, "/admin/migrate"))).unwrap();
    assert_eq!(response.status(), 200);
}

#[test]
fn a_body_is_refused_before_anything_runs() {
    let store = MemoryStore::new();
    let mut routes = routes(&store, "content");
    for path in ["/migrate", "/migrations/001_with_args/rollback", "/migrations/001_with_args/reset"] {
        let dry_run = request_with(Method::POST, path, r#"{"dryRun":true}"#);
        let response = block_on(routes.call(dry_run)).unwrap();
        assert_eq!(response.status(), 400, "{path}");
        assert_eq!(content(response)["type"], "urn:kv-migrations:problem:unexpected-content");
    }
    assert_eq!(store.operations(), 0, "nothing was read or changed");
    let status = block_on(routes.call(request_with(Method::GET, "/migrations/status", "{}"))).unwrap();
    assert_eq!(status.status(), 200, "reading is harmless");
}

#[test]
fn a_path_that_came_without_the_base_path_says_so() {
    let mut routes = routes(&MemoryStore::new(), "nested-twice").with_base_path("/admin");
    // What is left by axum's `nest_service("/admin", …)` of `/admin/migrate`.
    let response = block_on(routes.call(request(Method::POST, "/migrate"))).unwrap();
    assert_eq!(response.status(), 404);
    let detail = content(response)["detail"].to_string();
    assert!(detail.contains("below `/admin`") && detail.contains("leave `with_base_path` away"), "{detail}");

    let response = block_on(routes.call(request(Method::POST, "/other"))).unwrap();
    assert_eq!(content(response)["detail"], "No migration route has this path.");
}

#[test]
fn a_head_of_an_unknown_path_has_no_body() {
    let mut routes = routes(&MemoryStore::new(), "head");
    let response = block_on(routes.call(request(Method::HEAD, "/other"))).unwrap();
    assert_eq!(response.status(), 404);
    let body = block_on(response.into_body().collect()).unwrap().to_bytes();
    assert!(body.is_empty(), "{body:?}");
}

#[test]
fn a_base_path_may_have_what_a_url_encodes() {
    let mut routes = routes(&MemoryStore::new(), "encoded").with_base_path("/ü b");
    let response = block_on(routes.call(request(Method::GET, "/%C3%BC%20b/migrations/status"))).unwrap();
    assert_eq!(response.status(), 200);
}

/// `worker-build --panic-unwind` asks it of the class that `coordinator!` makes.
#[test]
fn the_object_may_be_used_after_a_panic() {
    fn assert_unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}
    assert_unwind_safe::<CoordinatorObject>();
}

#[test]
fn without_access_nothing_is_asked_of_kv() {
    let store = MemoryStore::new();
    let context = || Ok(Settings { api_url: String::new() });
    let mut routes = migration_routes_with_context(store.clone(), "closed", vec![migration()], context);
    for (method, uri) in [
        (Method::GET, "/migrations/status"),
        (Method::POST, "/migrate"),
        (Method::POST, "/migrations/001_with_args/rollback"),
    ] {
        let response = block_on(routes.call(request(method, uri))).unwrap();
        assert_eq!(response.status(), 403, "there is no secret outside of a Worker");
        assert!(!content(response).to_string().contains("001_with_args"));
    }
    assert_eq!(store.operations(), 0);
}

#[test]
fn a_run_over_a_number_of_steps_says_which_request_continues_it() {
    let store = MemoryStore::new();
    for number in 0..100 {
        store.insert(&format!("user_{number}"), "x");
    }
    let touching = || Backfill::new("user_", async |_, record, (): &()| Ok(record.put("y").await?));
    let migrations = vec![
        Migration::backfill("a/b ü", "", touching()),
        Migration::new("last", "", async |_, (): &()| Ok(())),
    ];
    let mut routes = migration_routes_with_context(store, "only-so-far", migrations, || Ok(()))
        .without_auth()
        .with_runner(|runner| {
            runner
                .with_budget(Budget::default().with_operations(40))
                .with_clock(Arc::new(ManualClock::default()))
        });
    let mut ask = |uri: &str| block_on(routes.call(request(Method::POST, uri))).unwrap();
    let mut answer = ask("/migrate?steps=1");
    let mut requests = 1;
    while answer.status() == 202 {
        let report = content(answer);
        assert_eq!((&report["remaining"][0], &report["beyond"][0]), (&"a/b ü".into(), &"last".into()));
        assert_eq!(report["continue"], "/migrate?to=a%2Fb%20%C3%BC", "not two steps more");
        answer = ask(report["continue"].as_str().unwrap());
        requests += 1;
    }
    assert!((2..10).contains(&requests), "{requests}");
    assert_eq!(answer.status(), 200);
    let report = content(answer);
    assert_eq!((&report["ran"][0], &report["beyond"][0]), (&"a/b ü".into(), &"last".into()));
    assert!(report.get("continue").is_none(), "{report}");
    assert_eq!(ask("/migrate?entries=1").status(), 400, "it is no backfill");
    assert_eq!(ask("/migrate?to=unknown").status(), 404);
}

#[test]
fn the_costs_of_the_routes_are_those_of_the_runner() {
    let store = MemoryStore::new();
    let mut routes = routes(&store, "costs");
    block_on(routes.call(request(Method::POST, "/migrate"))).unwrap();
    for (method, uri) in [
        (Method::POST, "/migrate"),
        (Method::GET, "/migrations/status"),
        (Method::GET, "/migrations/status?require=up-to-date"),
    ] {
        let before = store.operations();
        assert_eq!(block_on(routes.call(request(method, uri))).unwrap().status(), 200, "{uri}");
        assert_eq!(store.operations() - before, 1, "{uri}");
    }
}

#[test]
fn a_kv_that_fails_is_an_answer_that_says_whether_to_try_again() {
    for (prefix, status, expected, name) in
        [("unavailable", 503, 503, "kv-unavailable"), ("failed", 400, 500, "kv-failed")]
    {
        let fault = Fault::temporary(status, 0, u64::MAX);
        let store: Arc<dyn Store> = Arc::new(faulty(MemoryStore::new(), fault));
        let context = || Ok(Settings { api_url: String::new() });
        let mut routes = migration_routes_with_context(store, prefix, vec![migration()], context)
            .without_auth()
            .with_runner(|runner| runner.with_clock(Arc::new(ManualClock::default())));
        let response = block_on(routes.call(request(Method::POST, "/migrate"))).unwrap();
        assert_eq!(response.status(), expected);
        assert_eq!(response.headers().contains_key("retry-after"), expected == 503);
        assert_eq!(content(response)["type"], format!("urn:kv-migrations:problem:{name}"));
    }
}
