//! The page on troubleshooting says what to do about every type of problem.

#![allow(clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn every_type_of_problem_has_a_row() {
    let kinds = read("crates/kv-migrations-routes/src/response/problem/kinds.rs");
    let defined: BTreeSet<&str> =
        kinds.split("name: \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(defined.len() > 20, "kinds.rs is not read as it is written: {defined:?}");

    let page = read("docs/troubleshooting.md");
    let (_, types) = page.split_once("## By the type of the answer").unwrap_or_default();
    let (types, _) = types.split_once("\n## ").unwrap_or_default();
    let rows = types.lines().filter(|line| line.starts_with("| 4") || line.starts_with("| 5"));
    let listed: BTreeSet<&str> = rows.filter_map(|row| row.split('`').nth(1)).collect();
    assert_eq!(listed, defined, "left: docs/troubleshooting.md; right: kinds.rs");
}
