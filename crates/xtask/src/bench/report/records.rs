//! Backfills.

use crate::bench::Results;
use crate::bench::markdown::table;
use crate::bench::numbers::{count, megabytes, milliseconds, times_as_fast};

const OURS: &str = "rust";

pub(super) fn section(results: &Results) -> String {
    let measured = results.workerd.backfills();
    let rows = measured.values().flat_map(|ways| {
        let took = ways.iter().find(|way| way.way == OURS).map_or(f64::NAN, |way| way.took);
        ways.iter().map(move |way| {
            let (title, ratio) = match way.way.as_str() {
                OURS => ("this project", String::new()),
                other => (other, times_as_fast(took, way.took)),
            };
            [
                format!("{}, {title}", count(way.records)),
                way.latency.to_string(),
                count(way.operations),
                count(way.least),
                milliseconds(way.took),
                ratio,
                way.memory.map_or_else(|| "unknown".to_owned(), megabytes),
                if way.wasm_memory == 0 { String::new() } else { megabytes(way.wasm_memory) },
            ]
        })
    });
    let head = [
        "records",
        "ms an operation",
        "operations",
        "least",
        "time",
        "this project is as fast",
        "the process grew by",
        "WebAssembly memory",
    ];
    let requests = results.workerd.requests.iter().map(|row| {
        [
            count(row.records),
            count(row.requests),
            count(row.operations),
            count(row.least),
            milliseconds(row.took),
        ]
    });
    format!(
        "A field is added to every JSON record of a prefix. All of them in one request, as if there were no limit:\n\n{}\n\n\
         The least is a list for each 1,000 records, a bulk read for each 100 and a put for each: what is more is the lists \
         and writes of the ledger and of checkpoints. Each way has a process of its own, which begins anew with each number of \
         records; how much it grew is a highest value, and most of that is Miniflare's store and garbage that nobody has \
         collected.\n\n\
         With the default budget of 900 operations a request, by `POST /migrate` again and again, each when `Retry-After` \
         says so (one second, as KV takes one write a second to a marker). The loops would be cut off by the limit of \
         1,000 operations at 500 records, and begin anew each time:\n\n{}",
        table(head, rows),
        table(["records", "requests", "operations", "least", "time, waits included"], requests)
    )
}

pub(super) fn long(results: &Results) -> String {
    format!(
        "Backfills by the runner alone, natively, on a store that makes up its records, at the default budget and by a \
         clock that nobody waits for (`cargo bench -p kv-migrations --bench long`):\n\n{}",
        results.long.trim()
    )
}
