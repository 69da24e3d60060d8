//! A service with a route of its own, and with its migrations beside it.

mod migrations;

use axum::Router;
use axum::routing::get;
use kv_migrations_routes::migration_routes;
use tower_service::Service;
use worker::{Context, Env, HttpRequest, IntoResponse, Result, event};

fn router() -> Router {
    Router::new().route("/", get(root))
}

async fn root() -> &'static str {
    "my-service is up\n"
}

#[event(fetch)]
async fn fetch(request: HttpRequest, _env: Env, _context: Context) -> Result<impl IntoResponse> {
    let routes = migration_routes("MY_SERVICE_KV", "my-service", migrations::migrations());
    Ok(routes.in_front_of(router()).call(request).await?)
}
