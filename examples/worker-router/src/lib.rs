//! A service on `worker::Router`, without the feature `http`, and with its migrations beside it.

mod migrations;

use kv_migrations_routes::migration_routes;
use worker::{Context, Env, Request, Response, Result, Router, event};

#[event(fetch)]
async fn fetch(request: Request, env: Env, _context: Context) -> Result<Response> {
    let routes = migration_routes("MY_SERVICE_KV", "my-service", migrations::migrations());
    if let Some(response) = routes.fetch(&request).await? {
        return Ok(response);
    }
    Router::new().get("/", |_, _| Response::ok("my-service is up\n")).run(request, env).await
}
