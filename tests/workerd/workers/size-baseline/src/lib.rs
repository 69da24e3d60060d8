//! The smallest Worker on axum: what the size of the routes is measured against.

use axum::Router;
use axum::body::Body;
use axum::http::Response;
use axum::routing::get;
use tower_service::Service;
use worker::{Context, Env, HttpRequest, Result, event};

#[event(fetch)]
async fn fetch(request: HttpRequest, _env: Env, _context: Context) -> Result<Response<Body>> {
    let mut router = Router::new().route("/", get(async || "hello\n"));
    Ok(router.call(request).await?)
}
