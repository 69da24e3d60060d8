//! Backfills of up to 10,000,000 entries: how many requests and operations they take, and how much memory.
//!
//! ```console
//! cargo bench -p kv-migrations --bench long [ENTRIES]
//! ```
//!
//! The store makes up its entries, so what memory is used is the runner's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a bench")]

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures::executor::block_on;
use futures::future::ready;
use kv_migrations::BoxFuture;
use kv_migrations::kv::{Answer, BulkValue, Entry, Key, KvError, ListOptions, Page, Request, Store};
use kv_migrations::testing::ManualClock;
use kv_migrations::{Backfill, Migration, Runner};
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const PREFIX: &str = "customer_";
const VALUE: &[u8] = br#"{"name":"Ada","email":"ada@example.com"}"#;
const PAGE: u64 = 1_000;

/// A namespace with a number of customers, and what else is written.
struct Customers {
    number: u64,
    operations: AtomicU64,
    written: AtomicU64,
    marker: Mutex<Option<Entry>>,
}

impl Customers {
    fn page(&self, options: ListOptions<'_>) -> Page {
        if options.prefix != PREFIX {
            return Page::new(Vec::new());
        }
        let start: u64 = options.cursor.map_or(0, |cursor| cursor.parse().unwrap());
        let end = (start + PAGE).min(self.number);
        let key = |number| Key::new(format!("{PREFIX}{number:08}"));
        let cursor = (end < self.number).then(|| end.to_string());
        Page::new((start..end).map(key).collect()).with_cursor(cursor)
    }

    fn answer(&self, request: Request<'_>) -> Answer {
        self.operations.fetch_add(1, Ordering::Relaxed);
        match request {
            Request::List(options) => Answer::Page(self.page(options)),
            Request::GetBulk { keys } => {
                Answer::Values(keys.iter().map(|_| BulkValue::Found(VALUE.to_vec())).collect())
            }
            Request::Get { .. } => Answer::Entry(self.marker.lock().unwrap().clone()),
            Request::Put { key, value, options } => {
                if key.starts_with(PREFIX) {
                    self.written.fetch_add(1, Ordering::Relaxed);
                } else {
                    let metadata = options.metadata.clone();
                    *self.marker.lock().unwrap() = Some(Entry::new(value.to_vec()).with_metadata(metadata));
                }
                Answer::Done
            }
            _ => Answer::Done,
        }
    }
}

impl Store for Customers {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(ready(Ok(self.answer(request))))
    }
}

fn backfill() -> Migration {
    let change =
        Backfill::new(PREFIX, async |_, record, ()| Ok(record.put([record.value(), b" "].concat()).await?));
    Migration::backfill("001", "", change)
}

fn measure(number: u64) {
    let marker = Mutex::default();
    let store =
        Arc::new(Customers { number, operations: AtomicU64::new(0), written: AtomicU64::new(0), marker });
    let runner = Runner::new(store.clone(), "bench", vec![backfill()])
        .unwrap()
        .with_clock(Arc::new(ManualClock::default()))
        .with_log(Arc::new(Silent));
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let start = Instant::now();
    let mut requests = 1_u64;
    while !block_on(runner.run_pending(&())).unwrap().is_finished() {
        requests += 1;
    }
    let (took, peak) = (start.elapsed(), HEAP.peak_usage() - before);
    assert_eq!(store.written.load(Ordering::Relaxed), number, "each entry is written once");

    let operations = store.operations.load(Ordering::Relaxed);
    let least = number.div_ceil(PAGE) + number.div_ceil(100) + number;
    let over = (operations - least) * 100_000 / least;
    println!(
        "| {number:>10} | {requests:>8} | {operations:>10} | {least:>10} | {}.{:03} % | {:>6} KiB | {:>6.1} s |",
        over / 1000,
        over % 1000,
        peak / 1024,
        took.as_secs_f64()
    );
}

/// A log that keeps nothing.
struct Silent;

impl kv_migrations::log::Log for Silent {
    fn info(&self, _: &str) {}
    fn error(&self, _: &str) {}
}

fn main() {
    let asked = std::env::args().find_map(|argument| argument.parse().ok());
    println!("|    entries | requests | operations |      least |    over | peak heap |     time |");
    println!("| ---------: | -------: | ---------: | ---------: | ------: | --------: | -------: |");
    match asked {
        Some(number) => measure(number),
        None => [10_000, 100_000, 1_000_000, 10_000_000].into_iter().for_each(measure),
    }
}
