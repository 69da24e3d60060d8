//! What documents say is what the code is.

#![allow(clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_code_on_the_first_page_is_the_quickstarts() {
    let page = read("docs/start.md");
    // What comes after them is for services with more data.
    let (steps, _) = page
        .split_once("## More data")
        .unwrap_or_else(|| panic!("docs/start.md has no section of more data"));
    // `rs` is what cannot be compiled on its own.
    let blocks = steps.split("```r").skip(1).filter_map(|rest| rest.split("```").next());
    let mut shown = 0;
    for block in blocks {
        let mut lines = block.splitn(3, '\n').skip(1);
        // One that names no file stands for itself, and is compiled with the documentation.
        let Some(path) = lines.next().and_then(|line| line.strip_prefix("// ")) else { continue };
        let source = read(&format!("examples/quickstart/{path}"));
        assert_eq!(lines.next(), Some(source.as_str()), "{path} differs from what docs/start.md shows");
        shown += 1;
    }
    assert_eq!(shown, 4, "the two migrations, their list, and the mount");
}

#[test]
fn the_test_in_the_page_about_pipelines_is_the_gazetteers() {
    let page = read("docs/pipelines.md");
    let (_, rest) =
        page.split_once("// src/snapshot.rs\n").unwrap_or_else(|| panic!("there is no such block"));
    let block = rest.split("```").next();
    assert_eq!(block, Some(read("examples/gazetteer/src/snapshot.rs").as_str()));
}

/// What stands between `start` and `end`, each time.
fn between(text: &str, start: &str, end: char) -> BTreeSet<String> {
    text.split(start).skip(1).filter_map(|rest| rest.split(end).next()).map(str::to_owned).collect()
}

/// Tools rely on the type of a problem, and look it up.
#[test]
fn the_reference_lists_every_type_of_problem_and_no_other() {
    let defined =
        between(&read("crates/kv-migrations-routes/src/response/problem/kinds.rs"), "name: \"", '"');
    assert!(defined.len() > 20, "kinds.rs is not read as it is written: {defined:?}");

    let reference = read("docs/reference/http.md");
    let errors = reference.split("## Errors").nth(1).unwrap_or_default();
    let rows = errors.lines().filter(|line| line.starts_with("| 4") || line.starts_with("| 5"));
    let listed: BTreeSet<String> = rows.filter_map(|row| row.split('`').nth(1)).map(str::to_owned).collect();
    assert_eq!(listed, defined, "left: docs/reference/http.md; right: kinds.rs");

    let described = between(&read("docs/reference/openapi.json"), "\"urn:kv-migrations:problem:", '"');
    assert_eq!(described, defined, "left: docs/reference/openapi.json; right: kinds.rs");
}

/// The simulation's figures stand in one table; what repeats them must not be older.
#[test]
fn the_failure_modes_have_the_figures_of_the_guarantees() {
    let guarantees = read("docs/reference/guarantees.md");
    let modes = read("docs/reference/failure-modes.md");
    let is_number =
        |word: &&str| !word.is_empty() && word.chars().all(|one| one.is_ascii_digit() || one == ',');
    let mut figures = BTreeSet::new();
    for (place, _) in modes.match_indices(" of ") {
        let (before, after) = (modes[..place].rsplit(' ').next(), modes[place + 4..].split(' ').next());
        if let (Some(number), Some(worlds)) = (before.filter(is_number), after.filter(is_number)) {
            figures.extend([number, worlds]);
        }
    }
    assert!(figures.len() > 5, "failure-modes.md is not read as it is written: {figures:?}");
    let outdated: Vec<_> =
        figures.iter().filter(|figure| !guarantees.contains(&format!("| {figure} "))).collect();
    assert!(outdated.is_empty(), "the table of docs/reference/guarantees.md has not {outdated:?}");
}
