//! Status, runs with nothing to do, and runs of what is pending.

use std::collections::BTreeMap;

use crate::bench::Results;
use crate::bench::markdown::table;
use crate::bench::numbers::{count, milliseconds, real, times_as_fast, whole};
use crate::bench::plot::{Axis, Chart, Series};
use crate::bench::workerd::{Idle, Runners};

/// Those of `status`, or of `idle`.
fn rows_of<'a>(results: &'a Results, what: &str) -> Vec<&'a Idle> {
    results.workerd.idle.iter().filter(|row| row.what == what).collect()
}

pub(super) fn idle(results: &Results) -> String {
    let tables = [("status", "`GET /migrations/status`"), ("idle", "`POST /migrate` with nothing to do")]
        .map(|(what, title)| {
            let rows = rows_of(results, what).into_iter().map(|row| {
                let Runners { rust, typescript } = &row.runners;
                cells(
                    count(row.registered),
                    row.latency,
                    rust.operations,
                    typescript.operations,
                    rust.took,
                    typescript.took,
                )
            });
            format!("{title}, of migrations that have all run:\n\n{}", table(head("registered"), rows))
        });
    format!(
        "{}\n\n![KV operations of a status, by the number of registered migrations](benchmarks/status.svg)\n\n\
         One list reads 1,000 markers. The TypeScript runner asks for each by itself, and comes to what a request may ask \
         for, 1,000 operations on the free plan, with its 1,001st migration.",
        tables.join("\n\n")
    )
}

pub(super) fn pending(results: &Results) -> String {
    let rows = results.workerd.pending.iter().map(|row| {
        let Runners { rust, typescript } = &row.runners;
        let title = format!("{} after {}", count(row.pending), count(row.registered - row.pending));
        cells(title, row.latency, rust.operations, typescript.operations, rust.took, typescript.took)
    });
    format!(
        "`POST /migrate` with so many pending, after so many that have run. Each `up` puts one key:\n\n{}\n\nA `put` of ours \
         lists its key first, to keep metadata and expiration, which a put of the binding drops; `.no_metadata()` with \
         `.never_expires()` saves that. So a pending migration costs three operations here, and its look at the marker, its \
         put and its mark in TypeScript. What a run takes more at 0 ms is the processor's time: a list takes more of it than \
         a get, and the way between JavaScript and WebAssembly some.",
        table(head("pending"), rows)
    )
}

/// How many operations a status makes, which is the same whatever each takes.
pub(super) fn plot(results: &Results) -> Chart {
    let mut ways = BTreeMap::<&str, BTreeMap<u64, u64>>::new();
    for row in rows_of(results, "status") {
        for (name, figures) in [("this project", &row.runners.rust), ("TypeScript", &row.runners.typescript)]
        {
            ways.entry(name).or_default().insert(row.registered, figures.operations);
        }
    }
    let series = ways.into_iter().map(|(name, points)| Series {
        name: name.to_owned(),
        points: points.into_iter().map(|(x, y)| (real(x), real(y))).collect(),
    });
    Chart {
        title: "GET /migrations/status".to_owned(),
        x: Axis { label: "registered migrations".to_owned(), format: whole },
        y: Axis { label: "KV operations".to_owned(), format: whole },
        series: series.collect(),
    }
}

fn head(first: &'static str) -> [&'static str; 7] {
    [first, "ms an operation", "operations", "in TypeScript", "time", "in TypeScript", "as fast"]
}

fn cells(first: String, latency: u64, ours: u64, theirs: u64, took: f64, other: f64) -> [String; 7] {
    [
        first,
        latency.to_string(),
        count(ours),
        count(theirs),
        milliseconds(took),
        milliseconds(other),
        times_as_fast(took, other),
    ]
}
