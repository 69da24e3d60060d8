//! How the time that the runner itself takes grows with the number of registered migrations.
//!
//! ```console
//! cargo bench -p kv-migrations --bench growth [-- --quick]
//! ```
//!
//! The store answers at once, with pages that were made beforehand, so what is measured is the runner's. Each is what
//! a user calls: reading a status is planning, and decoding one marker for each that is applied. Decoding alone is
//! what the status of applied migrations takes more than that of migrations of which none is. In a Worker, JavaScript
//! parses a marker's metadata, natively `serde_json` does: what that takes differs, how it grows does not.

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::executor::block_on;
use futures::future::ready;
use kv_migrations::BoxFuture;
use kv_migrations::kv::{Answer, Key, KvError, Metadata, Page, Request, Store};
use kv_migrations::testing::ManualClock;
use kv_migrations::{Migration, Runner};

const PREFIX: &str = "bench";
const PAGE: u64 = 1_000;
const NUMBERS: [u64; 4] = [10, 100, 1_000, 10_000];

/// A namespace that is read only: it hands out the pages of a list one after the other.
#[derive(Default)]
struct Canned {
    pages: Mutex<VecDeque<Page>>,
}

impl Canned {
    /// Puts by what one list is answered with.
    fn serve(&self, pages: Vec<Page>) {
        self.pages.lock().unwrap().extend(pages);
    }
}

impl Store for Canned {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        let answer = match request {
            Request::List(_) => Answer::Page(self.pages.lock().unwrap().pop_front().unwrap()),
            other => unreachable!("nothing but a list is needed here, and not {other:?}"),
        };
        Box::pin(ready(Ok(answer)))
    }
}

/// A log that keeps nothing.
struct Silent;

impl kv_migrations::log::Log for Silent {
    fn info(&self, _: &str) {}
    fn error(&self, _: &str) {}
}

/// One of the migrations that somebody wrote, in the order of their ids.
fn id(number: u64) -> String {
    format!("{number:05}_add_feature")
}

fn migrations(number: u64) -> Arc<[Migration]> {
    let migration =
        |number| Migration::new(id(number), "Add new feature to system", async |_, ()| unreachable!());
    (0..number).map(migration).collect()
}

/// What a list of the markers answers if this number of migrations is applied: at least one page, even if it is empty.
fn pages(applied: u64) -> Vec<Page> {
    let metadata = r#"{"runAt":"2026-11-22T10:48:28.744Z","prefix":"bench","durationMs":12,"operations":3}"#;
    let key = |number| {
        Key::new(format!("migration_{PREFIX}_{}", id(number))).with_metadata(Metadata::from_json(metadata))
    };
    let page = |start: u64| {
        let end = (start + PAGE).min(applied);
        Page::new((start..end).map(key).collect()).with_cursor((end < applied).then(|| end.to_string()))
    };
    (0..applied.div_ceil(PAGE).max(1)).map(|index| page(index * PAGE)).collect()
}

fn runner(store: &Arc<Canned>, number: u64) -> Runner {
    let runner = Runner::new(store.clone(), PREFIX, migrations(number)).unwrap();
    runner.with_clock(Arc::new(ManualClock::default())).with_log(Arc::new(Silent))
}

fn growth(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("migrations");
    for number in NUMBERS {
        group.throughput(Throughput::Elements(number));
        let store = Arc::new(Canned::default());
        let runner = runner(&store, number);
        let (none, all) = (pages(0), pages(number));

        let registered = migrations(number);
        group.bench_function(BenchmarkId::new("registering", number), |bencher| {
            bencher.iter(|| Runner::new(store.clone(), PREFIX, registered.clone()));
        });
        for (name, pages, applied) in
            [("status, none applied", &none, 0), ("status, all applied", &all, number)]
        {
            let status = || block_on(runner.status()).unwrap();
            store.serve(pages.clone());
            assert_eq!(status().iter().filter(|status| status.run).count() as u64, applied);
            group.bench_function(BenchmarkId::new(name, number), |bencher| {
                let serve = || store.serve(pages.clone());
                bencher.iter_batched(serve, |()| black_box(status()), BatchSize::SmallInput);
            });
        }
        let run = || block_on(runner.run_pending(&())).unwrap();
        store.serve(all.clone());
        assert_eq!(run().skipped.len() as u64, number);
        group.bench_function(BenchmarkId::new("run, all applied", number), |bencher| {
            let serve = || store.serve(all.clone());
            bencher.iter_batched(serve, |()| black_box(run()), BatchSize::SmallInput);
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

criterion_group! { name = benches; config = brief(); targets = growth }
criterion_main!(benches);
