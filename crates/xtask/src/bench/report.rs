//! docs/benchmarks.md: what was measured, in tables and plots, and where it is not in this project's favour.

mod behind;
mod growth;
mod ledger;
mod records;
mod routes;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Results;

const HOW: &str = "\
What a user gets from this project, beside what they would use instead, measured by turns in one run. Once all is built:

```sh
cargo xtask bench          # writes this page, in less than 20 minutes on 2 cores
cargo xtask bench --quick  # less of everything, in less than 3, into target/benchmarks
```

Count on the numbers of operations, which are the same each time, and on the ratios. The times are of one machine, whose KV
is Miniflare's. What it is compared with:

- **The TypeScript runner**, written anew from its documentation: one `get` a migration to see whether it has run, one
  after the other, and one `put` after each that ran ([source](../tests/workerd/bench/typescript/migration-runner.ts)).
- **The loops that services write** to change all records: list to the end, then get and put one by one; or 100 keys a page,
  all at once by `Promise.all` ([source](../tests/workerd/bench/typescript/migrations.ts)).
- **A minimal axum Worker** without the routes.

Every Worker runs in a workerd of its own, built for release, and its KV is behind the same
[meter](../tests/workerd/bench/meter.mjs): it counts operations, makes each take at least as long as a table says, and lets
six be under way at once, as Cloudflare does. A time is the median of five, or of as many as were made in four seconds; after
each measurement it is checked that all of the work was done. Where an operation takes 10 ms, a status and a run with nothing
to do are measured at the same time, in processes of their own, since they mostly wait.";

/// Writes the page, and its plots into a directory beside it of the same name.
pub(super) fn write(results: &Results, page: &Path) -> Result<()> {
    let plots = page.with_extension("");
    fs::create_dir_all(&plots).with_context(|| format!("cannot make {}", plots.display()))?;
    ledger::plot(results).save(&plots.join("status.svg"))?;
    for (file, chart) in growth::plots(results) {
        chart.save(&plots.join(file))?;
    }
    let sections = [
        "# Benchmarks".to_owned(),
        HOW.to_owned(),
        results.machine.clone(),
        format!("## Where this project is not ahead\n\n{}", behind::section(results)),
        format!("## Knowing what has run\n\n{}", ledger::idle(results)),
        format!("## Running what has not\n\n{}", ledger::pending(results)),
        format!("## Changing every record\n\n{}", records::section(results)),
        format!("## What the routes add to a Worker\n\n{}", routes::section(results)),
        format!("## How it grows\n\n{}", growth::section(results)),
        format!("## Ten million records\n\n{}", records::long(results)),
    ];
    fs::write(page, sections.join("\n\n") + "\n").with_context(|| format!("cannot write {}", page.display()))
}
