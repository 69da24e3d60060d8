//! A Worker to be put to the test. The headers of a request choose how the routes are mounted, which migrations they
//! have, who has access, and what time it is: so each test says by itself what it tests.
//!
//! | header | meaning | without it |
//! | --- | --- | --- |
//! | `Mount` | `layer PATH`, `nest PATH`, `bare PATH`, or `fetch PATH` as beside `worker::Router` | `bare /` |
//! | `Migrations` | the name of a scenario | `good` |
//! | `Prefix` | the service's prefix | `my-service` |
//! | `Access` | `open`, or the names of secrets | `MIGRATIONS_TOKEN` |
//! | `Store` | `handed-over`: a `KvStore`, in place of the binding's name | by name |
//! | `Clock-Ahead` | by how many seconds the clock of the run is ahead | 0 |
//! | `Budget` | how many KV operations a run may make, within ten minutes | the runner's default |
//! | `Latency` | how many milliseconds a KV operation takes | no more than it takes |
//! | `Hang` | `OPERATION NUMBER PREFIX`: which KV operation is never answered | none |
//!
//! `POST /conformance` puts the KV binding to the conformance suite, and `POST /usual` changes customers as services do
//! it today.

mod ahead;
mod conformance;
mod hung;
mod long;
mod mount;
mod scenarios;
mod slow;
mod stores;
mod usual;

use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use kv_migrations::Budget;
use kv_migrations_routes::{MigrationRoutes, migration_routes};
use worker::{Context, Env, HttpRequest, Result, event};

const BINDING: &str = "MY_SERVICE_KV";

const TEN_MINUTES: Duration = Duration::from_mins(10);

#[event(fetch)]
async fn fetch(request: HttpRequest, env: Env, _context: Context) -> Result<Response<Body>> {
    match request.uri().path() {
        "/conformance" => conformance::report(&env).await,
        "/usual" => usual::run(&request, &env).await,
        _ => mount::call(request, &env).await,
    }
}

/// What a header says; empty without it.
fn header<'a>(request: &'a HttpRequest, name: &str) -> &'a str {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The routes that the headers ask for.
fn routes(request: &HttpRequest, env: &Env) -> Result<MigrationRoutes> {
    let prefix = match header(request, "prefix") {
        "" => "my-service",
        prefix => prefix,
    };
    let scenario = header(request, "migrations");
    let migrations = long::migrations(scenario).unwrap_or_else(|| scenarios::migrations(scenario));
    let routes = migration_routes(stores::namespace(request, env)?, prefix, migrations);
    let ahead = header(request, "clock-ahead").parse().unwrap_or(0);
    let budget = header(request, "budget").parse().ok();
    let routes = routes.with_runner(move |runner| {
        let runner = runner.with_clock(ahead::clock(ahead));
        match budget {
            Some(operations) => {
                runner.with_budget(Budget::default().with_operations(operations).with_time(TEN_MINUTES))
            }
            None => runner,
        }
    });
    Ok(match header(request, "access") {
        "" => routes,
        "open" => routes.without_auth(),
        secrets => routes.with_secrets(secrets.split_whitespace()),
    })
}
