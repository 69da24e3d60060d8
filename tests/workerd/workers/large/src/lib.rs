//! Migrations of much data, whose memory is measured. It is asked by the headers of `measured`:
//!
//! | header | meaning |
//! | --- | --- |
//! | `Migrations` | what is done to each customer: `backfill`, `fold`, or `re-key` |
//! | `Records` | what the keys of the customers begin with |
//! | `Budget` | `none`: everything is done in one request; or a number of operations |
//! | `Coordinator` | if it is there, a coordinator changes all keys that begin with `customer_` |

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use kv_migrations::{Backfill, Budget, Fold, FoldOutput, Migration, Record, Rekey};
use kv_migrations_routes::{MigrationRoutes, coordinator, migration_routes};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tower_service::Service;
use worker::{Context, Env, HttpRequest, IntoResponse, Result, event};

const ONE_HOUR: Duration = Duration::from_hours(1);

#[event(fetch)]
async fn fetch(request: HttpRequest, _env: Env, _context: Context) -> Result<impl IntoResponse> {
    let headers = request.headers();
    let router = Router::new().route("/", get(async || "hello\n"));
    if headers.contains_key("coordinator") {
        return Ok(coordinated().in_front_of(router).call(request).await?);
    }
    let budget = match header(headers, "budget") {
        "none" => Budget::default().with_operations(u64::MAX).with_time(ONE_HOUR),
        operations => operations
            .parse()
            .map_or_else(|_| Budget::default(), |most| Budget::default().with_operations(most)),
    };
    let prefix = header(headers, "records").to_owned();
    let migration = match header(headers, "migrations") {
        "typed" => Migration::backfill("001_seen", "Counts how often each customer was seen", typed(prefix)),
        "batches" => Migration::backfill("001_sums", "Puts all values somewhere else", batches(prefix)),
        "fold" => Migration::fold("001_names", "Gathers all values", names(prefix)),
        "re-key" => Migration::rekey("001_users", "customer_… becomes user_…", users(prefix)),
        _ => Migration::backfill("001_seen", "Counts how often each customer was seen", seen(prefix)),
    };
    let routes = migration_routes("MY_SERVICE_KV", "my-service", vec![migration])
        .with_runner(move |runner| runner.with_budget(budget));
    Ok(routes.in_front_of(router).call(request).await?)
}

fn coordinated() -> MigrationRoutes {
    let migration = Migration::backfill(
        "001_seen",
        "Counts how often each customer was seen",
        seen("customer_".to_owned()),
    );
    migration_routes("MY_SERVICE_KV", "my-service", vec![migration]).with_coordinator("MIGRATIONS")
}

coordinator!(Migrations = coordinated());

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Adds one to the field `seen` of every customer.
fn seen(prefix: String) -> Backfill<Env> {
    Backfill::new(prefix, async |_, customer, _: &Env| {
        let mut fields: Map<String, Value> = customer.json()?;
        let seen = fields.get("seen").and_then(Value::as_i64).unwrap_or(0);
        fields.insert("seen".to_owned(), (seen + 1).into());
        Ok(customer.put_json(&fields).await?)
    })
}

#[derive(Deserialize, Serialize)]
struct Customer {
    seen: Option<u64>,
}

/// That change by a type.
fn typed(prefix: String) -> Backfill<Env> {
    Backfill::typed(prefix, async |_, _, customer: &mut Customer, _| {
        customer.seen = Some(customer.seen.unwrap_or(0) + 1);
        Ok(())
    })
}

/// Puts the values of each batch together, as a call to another service would.
fn batches(prefix: String) -> Backfill<Env> {
    Backfill::in_batches(prefix, 100, async |kv, customers, _| {
        let values: Vec<_> = customers.iter().map(Record::value).collect();
        kv.put("last_customers", values.concat().len().to_string()).await?;
        Ok(())
    })
}

/// Keeps the value of every customer until the end.
fn names(prefix: String) -> Fold<Env, BTreeMap<String, String>> {
    Fold::new(
        prefix,
        BTreeMap::new,
        |names: &mut BTreeMap<String, String>, customer, _: &Env| {
            names.insert(customer.name().to_owned(), customer.text()?.to_owned());
            Ok(())
        },
        |names, _| Ok(vec![FoldOutput::new("number_of_customers", names.len().to_string())]),
    )
}

/// Without an inverse: the checkpoint remembers every new key.
fn users(prefix: String) -> Rekey {
    let start = prefix.clone();
    Rekey::new(prefix, move |key| key.name.strip_prefix(&start).map(|rest| format!("user_{rest}")))
}
