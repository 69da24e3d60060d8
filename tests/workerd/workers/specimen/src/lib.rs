//! A Worker to be put to the test. The headers of a request choose how the routes are mounted, which migrations they
//! have, who has access, and what time it is: so each test says by itself what it tests.
//!
//! | header | meaning | without it |
//! | --- | --- | --- |
//! | `Mount` | `layer PATH`, `nest PATH` or `bare PATH` | `bare /` |
//! | `Migrations` | the name of a scenario | `good` |
//! | `Prefix` | the service's prefix | `my-service` |
//! | `Access` | `open`, or the names of secrets | `MIGRATIONS_TOKEN` |
//! | `Store` | `handed-over`: a `KvStore`, in place of the binding's name | by name |
//! | `Clock-Ahead` | by how many seconds the clock of the run is ahead | 0 |
//!
//! `POST /conformance` puts the KV binding to the conformance suite.

mod ahead;
mod conformance;
mod mount;
mod scenarios;

use axum::body::Body;
use axum::http::Response;
use kv_migrations_routes::{MigrationRoutes, Namespace, migration_routes};
use worker::{Context, Env, HttpRequest, Result, event};

const BINDING: &str = "MY_SERVICE_KV";

#[event(fetch)]
async fn fetch(request: HttpRequest, env: Env, _context: Context) -> Result<Response<Body>> {
    if request.uri().path() == "/conformance" {
        return conformance::report(&env).await;
    }
    mount::call(request, &env).await
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
    let migrations = scenarios::migrations(header(request, "migrations"));
    let namespace = match header(request, "store") {
        "handed-over" => Namespace::from(env.kv(BINDING)?),
        _ => Namespace::from(BINDING),
    };
    let routes = migration_routes(namespace, prefix, migrations);
    let ahead = header(request, "clock-ahead").parse().unwrap_or(0);
    let routes = routes.with_runner(move |runner| runner.with_clock(ahead::clock(ahead)));
    Ok(match header(request, "access") {
        "" => routes,
        "open" => routes.without_auth(),
        secrets => routes.with_secrets(secrets.split_whitespace()),
    })
}
