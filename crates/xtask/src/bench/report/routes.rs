//! What the routes add to a Worker that has them.

use crate::bench::Results;
use crate::bench::markdown::table;
use crate::bench::numbers::{count, milliseconds};
use crate::size::Sizes;

pub(super) fn section(results: &Results) -> String {
    let contents = results.contents.iter().map(|(part, bytes)| [format!("`{part}`"), signed(*bytes)]);
    let starts = results.workerd.cold_starts.iter().map(|start| {
        [
            name(&start.name).to_owned(),
            milliseconds(start.milliseconds),
            milliseconds(start.fastest),
            start.times.to_string(),
        ]
    });
    let requests = results
        .workerd
        .request_times
        .iter()
        .map(|time| [name(&time.name).to_owned(), format!("{:.0} µs", time.microseconds)]);
    let coordinator = results.coordinator.as_ref().map_or_else(String::new, |coordinator| {
        format!(
            "\n\nThe same Worker with two migrations, without a coordinator and with one, which is in the WebAssembly of \
             those that ask for it:\n\n{}",
            sizes(coordinator)
        )
    });
    format!(
        "A minimal axum Worker, without the routes and with them and one migration:\n\n{}{coordinator}\n\nWhat the \
         WebAssembly has more with the routes, without the names of functions, by crate and by section. What the compiler inlined counts for the crate of the \
         function that it is in now: most of `worker` is the future that answers a request for the routes.\n\n{}\n\n\
         From nothing to the first answer, by starting a workerd for it:\n\n{}\n\n\
         One request after the other within the runtime, after as many to warm up:\n\n{}",
        sizes(&results.sizes),
        table(["part", "bytes added"], contents),
        table(["Worker", "median", "fastest", "starts"], starts),
        table(["request", "time"], requests),
    )
}

fn sizes(sizes: &Sizes) -> String {
    let rows = sizes.rows().map(|row| {
        [
            row.title.to_owned(),
            count(row.without.raw),
            count(row.with.raw),
            count(row.added.raw),
            count(row.without.gzipped),
            count(row.with.gzipped),
            format!("**{}**", count(row.added.gzipped)),
        ]
    });
    let head = ["bytes", "without", "with", "added", "without, gzipped", "with, gzipped", "added, gzipped"];
    table(head, rows)
}

fn signed(bytes: i64) -> String {
    let sign = if bytes < 0 { "−" } else { "" };
    format!("{sign}{}", count(bytes.unsigned_abs()))
}

fn name(name: &str) -> &str {
    match name {
        "baseline" => "axum without the routes",
        "mounted" => "axum with the routes",
        "typescript" => "TypeScript",
        name => name,
    }
}
