//! What the migrations that are still to be applied change in a copy of the data: a pull request shows it.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;

use kv_migrations::kv::MemoryStore;
use kv_migrations::testing::Harness;

use crate::migrations::migrations;

/// `SNAPSHOT` names the file. In GitHub Actions, what changes stands in the summary of the job: keys, and no values.
#[test]
fn new_migrations_run_over_a_snapshot() {
    let file = env::var("SNAPSHOT").unwrap_or_else(|_| "tests/snapshot.json".to_owned());
    let store = MemoryStore::from_bulk(&fs::read_to_string(&file).unwrap()).unwrap();
    let harness = Harness::new(&store, "gazetteer", migrations(None));

    let result = harness.migrate();
    let outcome = match &result {
        Ok(reports) => {
            reports.iter().flat_map(|report| &report.ran).map(|id| format!("{id} ran\n")).collect()
        }
        Err(error) => format!("{error}\n"),
    };
    let entries = store.entries().len();
    let summary = format!(
        "### New migrations over {entries} entries of {file}\n\n~~~diff\n{outcome}{}~~~\n",
        harness.changes()
    );
    println!("{summary}");
    if let Ok(file) = env::var("GITHUB_STEP_SUMMARY") {
        let file = OpenOptions::new().create(true).append(true).open(file);
        file.unwrap().write_all(summary.as_bytes()).unwrap();
    }
    assert!(result.is_ok(), "{outcome}");
}
