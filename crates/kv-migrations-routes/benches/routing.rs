//! What the routes cost a Worker that mounts them in axum: by the length of a segment of a request's path, and by the
//! number of migrations, which are made anew for every request.
//!
//! ```console
//! cargo bench -p kv-migrations-routes --bench routing [-- --quick]
//! ```
//!
//! A request is made beforehand, and its answer dropped afterwards; what mounting makes is dropped in the measurement,
//! as it is in a request's time.

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::executor::block_on;
use http::{Method, Request, Response};
use kv_migrations::Migration;
use kv_migrations::kv::MemoryStore;
use kv_migrations_routes::{MigrationRoutes, migration_routes, migration_routes_with_context};
use tower_service::Service;

const LENGTHS: [usize; 4] = [10, 100, 1_000, 10_000];
const NUMBERS: [u64; 4] = [10, 100, 1_000, 10_000];

async fn hello() -> &'static str {
    "hello"
}

/// A service that answers whatever is asked of it.
fn service() -> Router {
    Router::new().fallback(hello)
}

fn routes() -> MigrationRoutes<()> {
    let migration = Migration::new("001_add_feature", "", async |_, ()| unreachable!());
    migration_routes_with_context(MemoryStore::new(), "bench", vec![migration], || Ok(()))
}

/// A path with a segment of that many bytes.
fn path(start: &str, length: usize, end: &str) -> String {
    format!("{start}{}{end}", "x".repeat(length))
}

fn post(path: &str) -> Request<Body> {
    Request::builder().method(Method::POST).uri(path).body(Body::empty()).unwrap()
}

fn call(service: &mut Router, request: Request<Body>) -> Response<Body> {
    block_on(service.call(request)).unwrap()
}

fn by_path(criterion: &mut Criterion) {
    let with_routes = service().layer(routes());
    let open = service().layer(routes().without_auth());
    let (other, rollback) = (("/", ""), ("/migrations/", "/rollback"));
    let cases = [
        ("another's, without the routes", service(), other, 200),
        ("another's, with the routes", with_routes.clone(), other, 200),
        ("a rollback, without access", with_routes, rollback, 403),
        ("a rollback, of no migration", open, rollback, 404),
    ];
    let mut group = criterion.benchmark_group("path");
    for (name, mut service, (start, end), status) in cases {
        for length in LENGTHS {
            let path = path(start, length, end);
            assert_eq!(call(&mut service, post(&path)).status(), status);
            group.throughput(Throughput::Elements(length as u64));
            group.bench_function(BenchmarkId::new(name, length), |bencher| {
                let call = |request| call(&mut service, request);
                bencher.iter_batched(|| post(&path), call, BatchSize::SmallInput);
            });
        }
    }
    group.finish();
}

fn by_migrations(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mounting");
    for number in NUMBERS {
        // In the text of a program, ids are constants.
        let ids: Vec<&'static str> =
            (0..number).map(|number| format!("{number:05}_add_feature").leak() as &str).collect();
        let migration = |id: &&'static str| {
            Migration::new(*id, "Add new feature to system", async |_, _: &worker::Env| unreachable!())
        };
        let router = || Router::<()>::new().route("/", get(hello));
        group.throughput(Throughput::Elements(number));
        group.bench_function(BenchmarkId::new("without the routes", number), |bencher| bencher.iter(router));
        group.bench_function(BenchmarkId::new("with the routes", number), |bencher| {
            bencher.iter(|| {
                let migrations = ids.iter().map(migration).collect();
                router().layer(migration_routes("MY_SERVICE_KV", "my-service", migrations))
            });
        });
    }
    group.finish();
}

/// As many samples as tell a line from a curve, and not more: four sizes of everything are to be measured.
fn brief() -> Criterion {
    let (warm_up, measurement) = (Duration::from_millis(300), Duration::from_secs(1));
    Criterion::default()
        .sample_size(30)
        .warm_up_time(warm_up)
        .measurement_time(measurement)
        .nresamples(10_000)
        .without_plots()
}

criterion_group! { name = benches; config = brief(); targets = by_path, by_migrations }
criterion_main!(benches);
