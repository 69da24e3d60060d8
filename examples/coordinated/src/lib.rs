//! The quickstart with a coordinator: one run at a time in the world, carried on without further requests.

mod migrations;

use axum::Router;
use axum::routing::get;
use kv_migrations_routes::{MigrationRoutes, coordinator, migration_routes};
use tower_service::Service;
use worker::{Context, Env, HttpRequest, IntoResponse, Result, event};

fn routes() -> MigrationRoutes {
    migration_routes("MY_SERVICE_KV", "my-service", migrations::migrations()).with_coordinator("MIGRATIONS")
}

coordinator!(Migrations = routes());

fn router() -> Router {
    Router::new().route("/", get(root))
}

async fn root() -> &'static str {
    "my-service is up\n"
}

#[event(fetch)]
async fn fetch(request: HttpRequest, _env: Env, _context: Context) -> Result<impl IntoResponse> {
    Ok(routes().in_front_of(router()).call(request).await?)
}
