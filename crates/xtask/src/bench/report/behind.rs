//! Where what was measured is not in this project's favour: found, not chosen.

use crate::bench::Results;
use crate::bench::numbers::{count, milliseconds};
use crate::bench::workerd::Runners;

/// What is slower by less than this is no difference.
const NOISE: f64 = 1.05;

pub(super) fn section(results: &Results) -> String {
    let found = [routes(results), runs(results), backfills(results)].concat();
    found.iter().map(|line| format!("- {line}")).collect::<Vec<_>>().join("\n")
}

fn routes(results: &Results) -> Vec<String> {
    let [nameless, ..] = results.sizes.rows();
    let mut lines = vec![format!(
        "The routes add {} bytes of WebAssembly to a Worker, gzipped; the whole TypeScript Worker has {} bytes of \
         JavaScript.",
        count(nameless.added.gzipped),
        count(results.workerd.typescript_bytes)
    )];
    let starts = &results.workerd.cold_starts;
    let start = |name: &str| starts.iter().find(|start| start.name == name).map(|start| start.milliseconds);
    if let (Some(baseline), Some(mounted), Some(typescript)) =
        (start("baseline"), start("mounted"), start("typescript"))
    {
        lines.push(format!(
            "The first answer of a cold workerd comes after {} from an axum Worker, after {} if it has the routes, and after \
             {} from one in TypeScript.",
            milliseconds(baseline),
            milliseconds(mounted),
            milliseconds(typescript)
        ));
    }
    let time = |name: &str| results.workerd.request_time(name);
    if let (Some(without), Some(with)) =
        (time("another, without the routes"), time("another, with the routes"))
        && with > NOISE * without
    {
        lines.push(format!(
            "A request that is not for the routes takes {with:.0} µs where they are mounted, and {without:.0} µs where \
             they are not: they are made for each request."
        ));
    }
    lines
}

fn runs(results: &Results) -> Vec<String> {
    let idle = results.workerd.idle.iter().map(|row| {
        let what = if row.what == "status" { "A status" } else { "A run with nothing to do" };
        (format!("{what} of {}", count(row.registered)), row.latency, &row.runners)
    });
    let pending = results.workerd.pending.iter().map(|row| {
        let applied = row.registered - row.pending;
        let what = format!("A run of {} after {}", count(row.pending), count(applied));
        (what, row.latency, &row.runners)
    });
    idle.chain(pending).filter_map(|(what, latency, runners)| behind(&what, latency, runners)).collect()
}

fn behind(what: &str, latency: u64, Runners { rust, typescript }: &Runners) -> Option<String> {
    let more = rust.operations > typescript.operations;
    let slower = rust.took > NOISE * typescript.took;
    (more || slower).then(|| {
        format!(
            "{what} at {latency} ms an operation: {} operations in {}, in TypeScript {} in {}.",
            count(rust.operations),
            milliseconds(rust.took),
            count(typescript.operations),
            milliseconds(typescript.took)
        )
    })
}

fn backfills(results: &Results) -> Vec<String> {
    let mut lines = Vec::new();
    for ((records, latency), ways) in results.workerd.backfills() {
        let Some(ours) = ways.iter().find(|way| way.way == "rust") else { continue };
        for other in ways.iter().filter(|way| way.way != "rust" && ours.took > NOISE * way.took) {
            lines.push(format!(
                "A backfill of {} at {latency} ms an operation takes {}, and {} {}.",
                count(records),
                milliseconds(ours.took),
                milliseconds(other.took),
                other.way
            ));
        }
    }
    lines
}
