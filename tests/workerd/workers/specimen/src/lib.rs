//! A Worker to be put to the test. The headers of a request choose how the routes are mounted, which migrations they
//! have, who has access, and what time it is: so each test says by itself what it tests.
//!
//! | header | meaning | without it |
//! | --- | --- | --- |
//! | `Mount` | `layer PATH`, `nest PATH`, `bare PATH`, or `fetch PATH` as beside `worker::Router` | `bare /` |
//! | `Migrations` | the name of a scenario | `good` |
//! | `Prefix` | the service's prefix | `my-service` |
//! | `Other-Service` | the prefix of another service, which may have the same migrations | none |
//! | `Refusing` | `missing`: runs are refused that find it | nothing is refused |
//! | `Access` | `open`, `guard` (see [`guard`]), or the names of secrets, after `stored` if the Secrets Store can have them | `MIGRATIONS_TOKEN` |
//! | `Env` | `handed-over`: the routes get this Worker's environment | they import it |
//! | `Store` | `handed-over`: a `KvStore`, in place of the binding's name | by name |
//! | `Clock-Ahead` | by how many seconds the clock of the run is ahead | 0 |
//! | `Budget` | how many KV operations a run may make, within ten minutes | the runner's default |
//! | `Latency` | how many milliseconds a KV operation takes | no more than it takes |
//! | `Hang` | `OPERATION NUMBER PREFIX`: which KV operation is never answered | none |
//! | `Refuse` | a prefix: KV refuses every put to a key that begins so, while it has the key `refuse` | none |
//! | `Dry-Run` | anything: the routes make dry runs, too | they do not |
//! | `Page` | anything: the routes have the page, too | they have not |
//! | `Coordinator` | anything: the routes are those that the variable `COORDINATED` asks for, see `settings` | those that the headers ask for |
//!
//! `POST /conformance` puts the KV binding to the conformance suite, `POST /rows` the storage of an object to its
//! contract, and `POST /usual` changes customers as services do it today. `/stub/…` asks the coordinator's object, past
//! the routes. `POST /runner` runs the migrations by a `Runner`, and `/client/…` asks the client of the routes, as a cron
//! trigger would.

mod ahead;
mod beside;
mod conformance;
mod coordinated;
mod hung;
mod long;
mod mount;
mod namespaces;
mod out_of_kv;
mod refused;
mod rows;
mod scenarios;
mod settings;
mod slow;
mod stores;
mod usual;

use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use kv_migrations::{Budget, FindingKind, Migration};
use kv_migrations_routes::{MigrationRoutes, RequestHead, migration_routes};
use worker::{Context, Env, HttpRequest, Result, event};

use settings::Settings;

const BINDING: &str = "MY_SERVICE_KV";

const TEN_MINUTES: Duration = Duration::from_mins(10);

#[event(fetch)]
async fn fetch(request: HttpRequest, env: Env, _context: Context) -> Result<Response<Body>> {
    match request.uri().path() {
        "/conformance" => conformance::report(&env).await,
        "/rows" => rows::report(&env).await,
        path if path.starts_with("/stub/") => {
            let response = coordinated::stub(request.try_into()?, &env).await?;
            worker::HttpResponse::try_from(response).map(|response| response.map(Body::new))
        }
        "/usual" => usual::run(&request, &env).await,
        "/runner" => beside::run(&request, &env).await,
        path if path.starts_with("/client/") => beside::ask(&request, &env).await,
        _ => mount::call(request, &env).await,
    }
}

fn migrations(settings: &dyn Settings) -> Vec<Migration<Env>> {
    let scenario = settings.get("migrations");
    long::migrations(scenario).unwrap_or_else(|| scenarios::migrations(scenario))
}

/// The routes that are asked for.
fn routes(settings: &dyn Settings, env: &Env) -> MigrationRoutes {
    let prefix = match settings.get("prefix") {
        "" => "my-service",
        prefix => prefix,
    };
    let routes = migration_routes(stores::namespace(settings, env), prefix, migrations(settings));
    let routes = match settings.get("env") {
        "" => routes,
        _ => routes.with_env(env.clone()),
    };
    let routes = match settings.get("dry-run") {
        "" => routes,
        _ => routes.with_dry_run(),
    };
    let routes = match settings.get("page") {
        "" => routes,
        _ => routes.with_page(),
    };
    let ahead = settings.get("clock-ahead").parse().unwrap_or(0);
    let budget = settings.get("budget").parse().ok();
    let other_service = settings.get("other-service").to_owned();
    let is_refusing = settings.get("refusing") == "missing";
    let routes = routes.with_runner(move |runner| {
        let runner = if is_refusing { runner.refusing(FindingKind::Missing) } else { runner };
        let runner = runner.with_clock(ahead::clock(ahead)).with_other_service(other_service.clone());
        match budget {
            Some(operations) => {
                runner.with_budget(Budget::default().with_operations(operations).with_time(TEN_MINUTES))
            }
            None => runner,
        }
    });
    match settings.get("access") {
        "" => routes,
        "open" => routes.without_auth(),
        "guard" => routes.guarded_by(guard),
        secrets => match secrets.strip_prefix("stored ") {
            Some(stored) => routes.with_stored_secrets(stored.split_whitespace()),
            None => routes.with_secrets(secrets.split_whitespace()),
        },
    }
}

/// Lets a caller in who has the session `admin`, an assertion of Cloudflare Access, or a header with these bytes.
async fn guard(head: RequestHead<'_>) -> kv_migrations::Result<bool> {
    let is =
        |name, expected: &[u8]| head.headers().get(name).is_some_and(|value| value.as_bytes() == expected);
    if is("cookie", b"session=broken") {
        return Err("the sessions at https://internal.example.com are gone".into());
    }
    let in_utf_8 = is("x-name", "Zo\u{eb}".as_bytes());
    Ok(is("cookie", b"theme=dark; session=admin") || is("cf-access-jwt-assertion", b"signed") || in_utf_8)
}
