//! What the benchmarks measure of this project: a Worker as a service would write it. The TypeScript one beside it, in
//! `tests/workerd/bench/typescript`, is asked for the same things by the same headers.
//!
//! | header | meaning |
//! | --- | --- |
//! | `Migrations` | how many that put one key each are registered; `backfill`: one that changes every customer |
//! | `Records` | what the keys of the customers begin with |
//! | `Budget` | `none`: everything is done in one request, as a TypeScript runner tries to; `free`: that of the free plan |

use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use kv_migrations::{Backfill, Budget, Migration};
use kv_migrations_routes::migration_routes;
use serde_json::{Map, Value};
use tower_service::Service;
use worker::{Context, Env, HttpRequest, IntoResponse, Result, event};

const ONE_HOUR: Duration = Duration::from_hours(1);

#[event(fetch)]
async fn fetch(request: HttpRequest, _env: Env, _context: Context) -> Result<impl IntoResponse> {
    let headers = request.headers();
    let budget = match header(headers, "budget") {
        "none" => Budget::default().with_operations(u64::MAX).with_time(ONE_HOUR),
        "free" => Budget::free_plan(),
        _ => Budget::default(),
    };
    let routes = migration_routes("MY_SERVICE_KV", "my-service", migrations(headers))
        .with_runner(move |runner| runner.with_budget(budget));
    let router = Router::new().route("/", get(async || "hello\n"));
    Ok(routes.in_front_of(router).call(request).await?)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn migrations(headers: &HeaderMap) -> Vec<Migration<Env>> {
    match header(headers, "migrations") {
        "backfill" => vec![seen(header(headers, "records"))],
        number => (0..number.parse().unwrap_or(0)).map(puts).collect(),
    }
}

fn puts(number: u32) -> Migration<Env> {
    Migration::new(format!("{number:05}"), "Puts one key", async move |kv, _: &Env| {
        kv.put(&format!("put_{number:05}"), "true").await?;
        Ok(())
    })
}

/// Adds one to the field `seen` of every customer.
fn seen(prefix: &str) -> Migration<Env> {
    let up = Backfill::new(prefix.to_owned(), async |_, customer, _: &Env| {
        let mut fields: Map<String, Value> = customer.json()?;
        let seen = fields.get("seen").and_then(Value::as_i64).unwrap_or(0);
        fields.insert("seen".to_owned(), (seen + 1).into());
        Ok(customer.put_json(&fields).await?)
    });
    Migration::backfill("001_seen", "Counts how often each customer was seen", up)
}
