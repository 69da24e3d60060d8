//! The layers of tower-http around every mount in an axum router. Some layers make answers of their own, for which the
//! body needs a default; others look into the body.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_ENCODING, ORIGIN,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use kv_migrations::Migration;
use kv_migrations::kv::MemoryStore;
use kv_migrations_routes::{MigrationRoutes, migration_routes_with_context};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;
use tower_http::cors::CorsLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use tower_http::validate_request::ValidateRequestHeaderLayer;
use tower_layer::Layer;
use tower_service::Service;

const SITE: &str = "https://admin.example.com";

/// Routes of a service of its own for each test: runs of the same service exclude each other.
fn routes(name: &str) -> MigrationRoutes<()> {
    let migration = Migration::new("001_add_feature", "", async |kv, (): &()| {
        Ok(kv.put("feature_enabled", "true").await?)
    });
    migration_routes_with_context(MemoryStore::new(), name, vec![migration], || Ok(())).without_auth()
}

/// A router with a route that answers, and one that never does.
fn router() -> Router {
    Router::new().route("/", get(async || "hello")).route("/never", get(async || pending::<&str>().await))
}

/// Does the same with each way to mount the routes: what they answer, below which path, with the layer around it.
macro_rules! for_each_mount {
    ($layer:expr, $name:literal, $test:expr) => {
        run(async {
            $test($layer.layer(routes(concat!($name, "-front")).in_front_of(router())), "").await;
            $test($layer.layer(router().layer(routes(concat!($name, "-layer")))), "").await;
            $test($layer.layer(router().nest_service("/admin", routes(concat!($name, "-nested")))), "/admin")
                .await;
        });
    };
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
async fn answer<B: HttpBody>(
    service: &mut impl Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    request: Request<Body>,
) -> Response<Vec<u8>> {
    let (head, body) = service.call(request).await.unwrap().into_parts();
    let Ok(body) = body.collect().await else { panic!("the body failed") };
    Response::from_parts(head, body.to_bytes().into())
}

fn text(response: &Response<Vec<u8>>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

fn run(test: impl Future) {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(test);
}

#[test]
fn cors_covers_the_routes_and_answers_a_preflight_itself() {
    let cors = || CorsLayer::new().allow_origin(HeaderValue::from_static(SITE)).allow_methods([Method::POST]);
    for_each_mount!(cors(), "cors", async |mut service, base: &str| {
        let preflight =
            answer(&mut service, request_of_site(Method::OPTIONS, &format!("{base}/migrate"))).await;
        assert_eq!(preflight.status(), StatusCode::OK);
        assert_eq!(preflight.headers()[ACCESS_CONTROL_ALLOW_METHODS], "POST");
        assert_eq!(text(&preflight), "");

        for (method, path, status, content) in [
            (Method::GET, format!("{base}/migrations/status"), StatusCode::OK, "001_add_feature"),
            (Method::GET, "/".to_owned(), StatusCode::OK, "hello"),
            // Without a token no page of another site changes anything, but it may read why.
            (Method::POST, format!("{base}/migrate"), StatusCode::FORBIDDEN, "cross-site-request"),
        ] {
            let response = answer(&mut service, request_of_site(method, &path)).await;
            assert_eq!(response.status(), status, "{path}");
            assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], SITE);
            assert!(text(&response).contains(content), "{}", text(&response));
        }
    });
}

#[test]
fn a_timeout_ends_what_never_answers_and_nothing_else() {
    let timeout = TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_millis(200));
    for_each_mount!(timeout, "timeout", async |mut service, base: &str| {
        let late = answer(&mut service, request(Method::GET, "/never")).await;
        assert_eq!(late.status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(text(&late), "");

        let status = answer(&mut service, request(Method::GET, &format!("{base}/migrations/status"))).await;
        assert_eq!(status.status(), StatusCode::OK);
        assert!(text(&status).contains("001_add_feature"), "{}", text(&status));
    });
}

#[test]
fn a_required_header_guards_the_routes_and_the_service() {
    for_each_mount!(
        ValidateRequestHeaderLayer::has_header_value("x-deploy-key", "key").unwrap(),
        "validate",
        async |mut service, base: &str| {
            for (method, path) in [(Method::POST, format!("{base}/migrate")), (Method::GET, "/".to_owned())] {
                let refused = answer(&mut service, request(method.clone(), &path)).await;
                assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{path}");
                assert_eq!(text(&refused), "");

                let mut guarded = request(method, &path);
                guarded.headers_mut().insert("x-deploy-key", HeaderValue::from_static("key"));
                assert_eq!(answer(&mut service, guarded).await.status(), StatusCode::OK, "{path}");
            }
        }
    );
}

#[test]
fn tracing_changes_no_answer() {
    for_each_mount!(TraceLayer::new_for_http(), "trace", async |mut service, base: &str| {
        let report = answer(&mut service, request(Method::POST, &format!("{base}/migrate"))).await;
        assert_eq!(report.status(), StatusCode::OK);
        assert!(text(&report).contains(r#""ran":["001_add_feature"]"#), "{}", text(&report));
        assert_eq!(text(&answer(&mut service, request(Method::GET, "/")).await), "hello");
    });
}

#[test]
fn compression_takes_the_answers_of_the_routes_too() {
    for_each_mount!(
        CompressionLayer::new().compress_when(SizeAbove::new(0)),
        "compression",
        async |mut service, base: &str| {
            for path in [format!("{base}/migrations/status"), "/".to_owned()] {
                let mut accepting = request(Method::GET, &path);
                accepting.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
                let response = answer(&mut service, accepting).await;
                assert_eq!(response.headers()[CONTENT_ENCODING], "gzip", "{path}");
                assert!(response.body().starts_with(&[0x1f, 0x8b]), "{path}: it begins as gzip does");
                let plain = answer(&mut service, request(Method::GET, &path)).await;
                assert_eq!(plain.headers().get(CONTENT_ENCODING), None, "{path}");
            }
        }
    );
}
