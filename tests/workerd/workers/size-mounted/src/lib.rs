//! The smallest Worker on axum with the routes mounted, and a migration; with a feature, one of a kind beside it.

mod kinds;

use axum::Router;
use axum::routing::get;
use kv_migrations::Migration;
use kv_migrations_routes::migration_routes;
use tower_service::Service;
use worker::{Context, Env, HttpRequest, IntoResponse, Result, event};

#[event(fetch)]
async fn fetch(request: HttpRequest, _env: Env, _context: Context) -> Result<impl IntoResponse> {
    let migration = Migration::new("001_add_feature", "Add new feature to system", async |kv, _| {
        kv.put("feature_enabled", "true").await?;
        Ok(())
    });
    let mut migrations = vec![migration];
    kinds::add(&mut migrations);
    let routes = migration_routes("MY_SERVICE_KV", "my-service", migrations);
    let routes = if cfg!(feature = "dry-run") { routes.with_dry_run() } else { routes };
    let routes = if cfg!(feature = "page") { routes.with_page() } else { routes };
    let router = Router::new().route("/", get(async || "hello\n"));
    Ok(routes.in_front_of(router).call(request).await?)
}
