//! Where a guard has to stand, for every way to mount the routes.
//!
//! `Closed` stands for a layer of the service that lets nobody in. Where it must stand differs with the mount;
//! `guarded_by` is one place for all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::executor::block_on;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use kv_migrations::Migration;
use kv_migrations::kv::MemoryStore;
use kv_migrations_routes::{MigrationRoutes, migration_routes_with_context};
use tower_layer::Layer;
use tower_service::Service;

/// Routes on a store of their own. Runs of the same service exclude each other, so that each test has a service.
fn routes(service: &str) -> MigrationRoutes<()> {
    let migration = Migration::new("001_add_feature", "", async |kv, (): &()| {
        Ok(kv.put("feature_enabled", "true").await?)
    });
    migration_routes_with_context(MemoryStore::new(), service, vec![migration], || Ok(()))
}

fn app() -> Router {
    Router::new().route("/", get(async || "hello"))
}

async fn closed(_: Request<Body>, _: Next) -> Response {
    StatusCode::UNAUTHORIZED.into_response()
}

fn request(method: Method, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path)
}

/// The answer of a service, with its whole body.
fn answer<S, B>(mut service: S, request: http::request::Builder) -> http::Response<String>
where
    S: Service<Request<Body>, Response = http::Response<B>, Error = Infallible>,
    B: http_body::Body<Data = axum::body::Bytes>,
    B::Error: std::fmt::Debug,
{
    block_on(async {
        let (head, body) = service.call(request.body(Body::empty()).unwrap()).await.unwrap().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        http::Response::from_parts(head, String::from_utf8(bytes.into()).unwrap())
    })
}

fn migrate<S, B>(service: S, path: &str) -> u16
where
    S: Service<Request<Body>, Response = http::Response<B>, Error = Infallible>,
    B: http_body::Body<Data = axum::body::Bytes>,
    B::Error: std::fmt::Debug,
{
    answer(service, request(Method::POST, path)).status().as_u16()
}

#[test]
fn in_front_of_a_router_the_layer_has_to_be_around_the_routes() {
    let open = || routes("layer-in-front").without_auth();
    let inside = open().in_front_of(app().layer(from_fn(closed)));
    assert_eq!(
        migrate(inside, "/migrate"),
        200,
        "the routes are in front of the layer: it guards the router alone"
    );

    let around = from_fn(closed).layer(open().in_front_of(app()));
    assert_eq!(migrate(around, "/migrate"), 401);
}

#[test]
fn as_a_layer_the_routes_have_to_be_before_the_guard() {
    let open = || routes("layer-order").without_auth();
    let outermost = app().layer(from_fn(closed)).layer(open());
    assert_eq!(migrate(outermost, "/migrate"), 200, "the last layer is the outermost one");

    let guarded = app().layer(open()).layer(from_fn(closed));
    assert_eq!(migrate(guarded, "/migrate"), 401);
}

#[test]
fn nested_the_routes_have_to_be_before_the_guard() {
    let open = || routes("layer-nested").without_auth();
    let later = app().layer(from_fn(closed)).nest_service("/admin", open());
    assert_eq!(migrate(later, "/admin/migrate"), 200, "a layer covers only what was added before it");

    let guarded = app().nest_service("/admin", open()).layer(from_fn(closed));
    assert_eq!(migrate(guarded, "/admin/migrate"), 401);
}

#[test]
fn a_guard_of_the_routes_stands_before_them_wherever_they_are_mounted() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let routes = routes("guarded").guarded_by(async move |head| {
        count.fetch_add(1, Ordering::Relaxed);
        assert_eq!(head.path(), "/migrate", "without what it is mounted below");
        Ok(head.headers().get("cookie").is_some_and(|cookie| cookie == "session=admin"))
    });
    let below = || routes.clone().with_base_path("/admin");
    let mounts = || {
        [
            app().fallback_service(below().in_front_of(app())),
            app().layer(below()),
            app().nest_service("/admin", routes.clone()),
            app().fallback_service(below()),
        ]
    };
    for (number, mount) in mounts().into_iter().enumerate() {
        let refused = answer(mount, request(Method::POST, "/admin/migrate"));
        assert_eq!(refused.status(), 403, "mount {number}");
        assert!(refused.body().contains("urn:kv-migrations:problem:forbidden"), "{}", refused.body());
        assert!(!refused.body().contains("001_add_feature"), "{}", refused.body());
    }
    for (number, mount) in mounts().into_iter().enumerate() {
        let admin = request(Method::POST, "/admin/migrate").header("cookie", "session=admin");
        assert_eq!(answer(mount, admin).status(), 200, "mount {number}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 8);
}

#[test]
fn a_guard_that_fails_lets_nobody_in_and_keeps_its_error_to_itself() {
    let routes =
        routes("broken-guard").guarded_by(async |_| Err("the keys at https://internal are gone".into()));
    let failed = answer(routes, request(Method::POST, "/migrate"));
    assert_eq!(failed.status(), 500);
    assert!(failed.body().contains("urn:kv-migrations:problem:guard-failed"), "{}", failed.body());
    assert!(!failed.body().contains("internal"), "anyone can get this answer: {}", failed.body());
}

#[test]
fn the_last_choice_of_who_has_access_counts() {
    let nobody = |routes: MigrationRoutes<()>| routes.guarded_by(async |_| Ok(false));
    assert_eq!(migrate(nobody(routes("last-guard").without_auth()), "/migrate"), 403);
    assert_eq!(migrate(nobody(routes("last-open")).without_auth(), "/migrate"), 200);
    let token = nobody(routes("last-token").without_auth()).with_secret("DEPLOY_KEY");
    let refused = answer(token, request(Method::POST, "/migrate"));
    assert!(refused.body().contains("access-not-configured"), "outside of a Worker there is no secret");
}

#[test]
fn a_page_of_another_site_changes_nothing_where_no_token_is_needed() {
    let forged = || {
        request(Method::POST, "/migrate")
            .header("origin", "https://evil.example.com")
            .header("sec-fetch-site", "cross-site")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("cookie", "session=admin")
    };
    for routes in [routes("forged").without_auth(), routes("forged-guarded").guarded_by(async |_| Ok(true))] {
        let refused = answer(routes.clone(), forged());
        assert_eq!(refused.status(), 403);
        assert!(refused.body().contains("cross-site-request"), "{}", refused.body());

        let looked = request(Method::GET, "/migrations/status").header("sec-fetch-site", "cross-site");
        let status = answer(routes.clone(), looked);
        assert_eq!(status.status(), 200, "reading changes nothing, and no other site can read the answer");
        assert!(status.body().contains(r#""run":false"#), "{}", status.body());

        let own = request(Method::POST, "/migrate").header("sec-fetch-site", "same-origin");
        assert_eq!(answer(routes, own).status(), 200);
    }
}
