//! What the routes cost a Worker that mounts them in axum: by the length of a segment of a request's path, and by the
//! number of migrations, which are made for every request.
//!
//! ```console
//! cargo bench -p kv-migrations-routes --bench routing [-- --quick]
//! ```
//!
//! A request is made beforehand, and its answer dropped afterwards; what mounting makes is dropped in the measurement,
//! as it is in a request's time.

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
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

fn by_path(criterion: &mut Criterion) {
    let with_routes = routes().in_front_of(service());
    let open = routes().without_auth().in_front_of(service());
    let (other, rollback) = (("/", ""), ("/migrations/", "/rollback"));
    let mut group = criterion.benchmark_group("path");
    measure(&mut group, "another's, without the routes", service(), other, 200);
    measure(&mut group, "another's, with the routes", with_routes.clone(), other, 200);
    measure(&mut group, "a rollback, without access", with_routes, rollback, 403);
    measure(&mut group, "a rollback, of no migration", open, rollback, 404);
    group.finish();
}

/// A request for a path that begins and ends so, and is answered with that status.
fn measure<B>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    mut service: impl Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    (start, end): (&str, &str),
    status: u16,
) {
    for length in LENGTHS {
        let path = path(start, length, end);
        let mut call = |request| block_on(service.call(request)).unwrap();
        assert_eq!(call(post(&path)).status(), status);
        group.throughput(Throughput::Elements(length as u64));
        group.bench_function(BenchmarkId::new(name, length), |bencher| {
            bencher.iter_batched(|| post(&path), &mut call, BatchSize::SmallInput);
        });
    }
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
                migration_routes("MY_SERVICE_KV", "my-service", migrations).in_front_of(router())
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
