//! The layers of tower-http around the routes in front of an axum router. Those layers make answers of their own, for
//! which the body needs a default.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::header::{ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ORIGIN};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kv_migrations::Migration;
use kv_migrations::kv::MemoryStore;
use kv_migrations_routes::{ResponseBody, WithMigrationRoutes, migration_routes_with_context};
use tower_http::cors::CorsLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::validate_request::ValidateRequestHeaderLayer;
use tower_layer::Layer;
use tower_service::Service;

const SITE: &str = "https://admin.example.com";

/// The routes in front of a router with a route that answers, and one that never does. Each test has a service of its
/// own: runs of the same service exclude each other.
fn service(name: &str) -> WithMigrationRoutes<Router, ()> {
    let migration = Migration::new("001_add_feature", "", async |kv, (): &()| {
        Ok(kv.put("feature_enabled", "true").await?)
    });
    let router = Router::new()
        .route("/", get(async || "hello"))
        .route("/never", get(async || pending::<&str>().await));
    migration_routes_with_context(MemoryStore::new(), name, vec![migration], || Ok(()))
        .without_auth()
        .in_front_of(router)
}

fn request(method: Method, path: &str) -> Request<Body> {
    Request::builder().method(method).uri(path).body(Body::empty()).unwrap()
}

/// The same from a page of another site.
fn request_of_site(method: Method, path: &str) -> Request<Body> {
    let mut request = request(method, path);
    request.headers_mut().insert(ORIGIN, HeaderValue::from_static(SITE));
    request
}

/// The answer with the whole of its body.
async fn answer(
    service: &mut impl Service<Request<Body>, Response = Response<ResponseBody<Body>>, Error = Infallible>,
    request: Request<Body>,
) -> Response<String> {
    let (head, body) = service.call(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Response::from_parts(head, String::from_utf8(bytes.into()).unwrap())
}

fn run(test: impl Future) {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(test);
}

#[test]
fn cors_covers_the_routes_and_answers_a_preflight_itself() {
    run(async {
        let cors =
            CorsLayer::new().allow_origin(HeaderValue::from_static(SITE)).allow_methods([Method::POST]);
        let mut service = cors.layer(service("cors"));

        let preflight = answer(&mut service, request_of_site(Method::OPTIONS, "/migrate")).await;
        assert_eq!(preflight.status(), StatusCode::OK);
        assert_eq!(preflight.headers()[ACCESS_CONTROL_ALLOW_METHODS], "POST");
        assert_eq!(preflight.body(), "");

        for (method, path, status, content) in [
            (Method::GET, "/migrations/status", StatusCode::OK, "001_add_feature"),
            (Method::GET, "/", StatusCode::OK, "hello"),
            // Without a token no page of another site changes anything, but it may read why.
            (Method::POST, "/migrate", StatusCode::FORBIDDEN, "cross-site-request"),
        ] {
            let response = answer(&mut service, request_of_site(method, path)).await;
            assert_eq!(response.status(), status, "{path}");
            assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], SITE);
            assert!(response.body().contains(content), "{}", response.body());
        }
    });
}

#[test]
fn a_timeout_ends_what_never_answers_and_nothing_else() {
    run(async {
        let timeout = TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_millis(200));
        let mut service = timeout.layer(service("timeout"));

        let late = answer(&mut service, request(Method::GET, "/never")).await;
        assert_eq!(late.status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(late.body(), "");

        let status = answer(&mut service, request(Method::GET, "/migrations/status")).await;
        assert_eq!(status.status(), StatusCode::OK);
        assert!(status.body().contains("001_add_feature"), "{}", status.body());
    });
}

#[test]
fn a_required_header_guards_the_routes_and_the_service() {
    run(async {
        let guard = ValidateRequestHeaderLayer::has_header_value("x-deploy-key", "key").unwrap();
        let mut service = guard.layer(service("validate"));

        for (method, path) in [(Method::POST, "/migrate"), (Method::GET, "/")] {
            let refused = answer(&mut service, request(method.clone(), path)).await;
            assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{path}");
            assert_eq!(refused.body(), "");

            let mut guarded = request(method, path);
            guarded.headers_mut().insert("x-deploy-key", HeaderValue::from_static("key"));
            assert_eq!(answer(&mut service, guarded).await.status(), StatusCode::OK, "{path}");
        }
    });
}
