//! The page: where it is, for whom, and that it is nowhere else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use futures::executor::block_on;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kv_migrations::Migration;
use kv_migrations::kv::MemoryStore;
use kv_migrations_routes::{MigrationRoutes, migration_routes_with_context};
use tower_service::Service;

fn routes(store: &MemoryStore, service: &str) -> MigrationRoutes<()> {
    let migration = Migration::new("001_add_feature", "", async |_, (): &()| Ok(()));
    migration_routes_with_context(store.clone(), service, vec![migration], || Ok(()))
}

fn app() -> Router {
    Router::new().fallback(any(async || "own"))
}

/// The answer of a service, with its whole body.
fn answer<S, B>(service: &mut S, method: Method, path: &str) -> Response<String>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body<Data = axum::body::Bytes>,
    B::Error: std::fmt::Debug,
{
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    block_on(async {
        let (head, body) = service.call(request).await.unwrap().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Response::from_parts(head, String::from_utf8(bytes.into()).unwrap())
    })
}

#[test]
fn it_is_there_where_it_is_switched_on_and_needs_neither_a_token_nor_kv() {
    let store = MemoryStore::new();
    let mut with = routes(&store, "page").with_page().with_base_path("/admin").in_front_of(app());
    for path in ["/admin/migrations", "/admin/migrations/"] {
        let page = answer(&mut with, Method::GET, path);
        assert_eq!(page.status(), 200, "{path}");
        assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
        assert!(page.body().starts_with("<!doctype html>"));
        let head = answer(&mut with, Method::HEAD, path);
        assert_eq!((head.status().as_u16(), head.body().len()), (200, 0));
        let posted = answer(&mut with, Method::POST, path);
        assert_eq!(
            (posted.status().as_u16(), &posted.headers()["allow"]),
            (405, &"GET, HEAD".parse().unwrap())
        );
    }
    for path in ["/migrations", "/admin/migrationsx", "/admin/migrations//", "/admin"] {
        assert_eq!(answer(&mut with, Method::GET, path).body(), "own", "{path}");
    }
    assert_eq!(
        answer(&mut with, Method::GET, "/admin/migrations/status").status(),
        403,
        "all else needs a token"
    );

    let mut without = routes(&store, "page").with_base_path("/admin").in_front_of(app());
    for path in ["/admin/migrations", "/admin/migrations/"] {
        assert_eq!(answer(&mut without, Method::GET, path).body(), "own", "{path}");
    }
    assert_eq!(store.operations(), 0);
}

#[test]
fn a_query_is_refused_and_a_token_in_it_is_not_repeated() {
    let mut routes = routes(&MemoryStore::new(), "page-query").with_page();
    let refused = answer(&mut routes, Method::GET, "/migrations?token=secret");
    assert_eq!(refused.status(), 400);
    assert!(!refused.body().contains("secret"), "{}", refused.body());
}

#[test]
fn a_guard_is_asked_for_it_and_a_token_is_not() {
    let store = MemoryStore::new();
    let guarded = |lets_in: bool| {
        let routes = routes(&store, "page-guard").with_page();
        routes.guarded_by(async move |head| {
            assert_eq!(head.path(), "/migrations");
            Ok(lets_in)
        })
    };
    assert_eq!(answer(&mut guarded(true), Method::GET, "/migrations/").status(), 200);
    assert_eq!(answer(&mut guarded(false), Method::GET, "/migrations").status(), 403);
    assert_eq!(answer(&mut guarded(false), Method::POST, "/migrations").status(), 403, "before all else");
    let mut stored = routes(&store, "page-stored").with_page().with_stored_secrets(["MIGRATIONS_TOKEN"]);
    assert_eq!(answer(&mut stored, Method::GET, "/migrations").status(), 200);
    let mut open = routes(&store, "page-open").with_page().without_auth();
    assert_eq!(answer(&mut open, Method::GET, "/migrations").status(), 200);
}
