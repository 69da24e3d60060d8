//! How the time of what runs natively grows with its size: the benchmarks of the crates, run and read.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use xshell::cmd;

use crate::console::{progress, run_quietly};
use crate::workspace::Workspace;

/// The packages that have such benchmarks, and what these are called.
const BENCHMARKS: [(&str, &str); 2] = [("kv-migrations", "growth"), ("kv-migrations-routes", "routing")];

/// Few and short samples. Criterion's own `--quick` makes do with two, which on a busy machine tell little.
const QUICK: [&str; 6] = ["--sample-size", "10", "--warm-up-time", "0.1", "--measurement-time", "0.3"];

/// What glibc frees it keeps, as the allocator of a Worker does. Else what is measured at the large end is the kernel,
/// which takes pages back and gives them again: up to ten times what is to be measured.
const KEEP_PAGES: [(&str, &str); 2] =
    [("MALLOC_TRIM_THRESHOLD_", "1073741824"), ("MALLOC_MMAP_THRESHOLD_", "33554432")];

/// How the time of one thing grows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Growth {
    /// What it grows with: `migrations`, `path`, …
    pub(crate) group: String,
    /// What is done: `run, all applied`, …
    pub(crate) case: String,
    /// From small to large.
    pub(crate) points: Vec<Point>,
}

/// How long it takes for one size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Point {
    pub(crate) n: u64,
    /// The median of the samples.
    pub(crate) nanoseconds: f64,
}

impl Growth {
    /// How steep it is at its large end: 1 is proportional to the size, 0 does not depend on it. It is the slope between
    /// the last two points, each as logarithms.
    pub(crate) fn exponent(&self) -> Option<f64> {
        let [.., before, last] = self.points.as_slice() else { return None };
        let size = logarithm(last.n)? - logarithm(before.n)?;
        Some((last.nanoseconds.ln() - before.nanoseconds.ln()) / size)
    }
}

/// None for what is too large to be a size here.
fn logarithm(n: u64) -> Option<f64> {
    u32::try_from(n).ok().map(|n| f64::from(n).ln())
}

/// Runs the benchmarks: in about a minute, or in a third of one if it is to be `quick`.
pub(crate) fn measure(workspace: &Workspace, quick: bool) -> Result<Vec<Growth>> {
    // A place of its own, as what a benchmark was once called stays in that of `cargo bench`.
    let results = workspace.root.join("target/growth");
    let shell = workspace.shell()?;
    shell.remove_path(&results)?;
    for (package, benchmark) in BENCHMARKS {
        progress(&format!("measuring {package} natively ({})", duration(quick)));
        let arguments = if quick { QUICK.as_slice() } else { &[] };
        run_quietly(
            cmd!(shell, "cargo bench --quiet --package {package} --bench {benchmark} -- {arguments...}")
                .env("CRITERION_HOME", &results)
                .envs(KEEP_PAGES),
        )?;
    }
    let growths = collect(read(&results)?);
    ensure!(!growths.is_empty(), "the benchmarks left no results in {}", results.display());
    Ok(growths)
}

fn duration(quick: bool) -> &'static str {
    if quick { "about 10 seconds, after building it" } else { "about half a minute, after building it" }
}

/// What criterion writes of a benchmark into `benchmark.json`, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Benchmark {
    group_id: String,
    function_id: String,
    throughput: Throughput,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Throughput {
    elements: u64,
}

/// The same of `estimates.json`.
#[derive(Debug, Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Debug, Deserialize)]
struct Estimate {
    point_estimate: f64,
}

/// All results below a directory.
fn read(results: &Path) -> Result<Vec<(Benchmark, Estimates)>> {
    let mut directories = Vec::new();
    find_newest(results, &mut directories)?;
    let read = |directory: PathBuf| {
        Ok((read_json(&directory.join("benchmark.json"))?, read_json(&directory.join("estimates.json"))?))
    };
    directories.into_iter().map(read).collect()
}

/// Adds every directory `new`: the results of a run lie there, those of the run before beside it.
fn find_newest(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.ends_with("new") {
            found.push(path);
        } else if path.is_dir() {
            find_newest(&path, found)?;
        }
    }
    Ok(())
}

fn read_json<T: for<'de> Deserialize<'de>>(file: &Path) -> Result<T> {
    let read = || Ok::<_, anyhow::Error>(serde_json::from_slice(&fs::read(file)?)?);
    read().with_context(|| format!("cannot read {}", file.display()))
}

/// In alphabetical order, as a directory is in none.
fn collect(results: Vec<(Benchmark, Estimates)>) -> Vec<Growth> {
    let mut growths: BTreeMap<(String, String), Vec<Point>> = BTreeMap::new();
    for (benchmark, estimates) in results {
        let point = Point { n: benchmark.throughput.elements, nanoseconds: estimates.median.point_estimate };
        growths.entry((benchmark.group_id, benchmark.function_id)).or_default().push(point);
    }
    let growth = |((group, case), mut points): (_, Vec<Point>)| {
        points.sort_by_key(|point| point.n);
        Growth { group, case, points }
    };
    growths.into_iter().map(growth).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth(points: &[(u64, f64)]) -> Growth {
        let point = |&(n, nanoseconds): &_| Point { n, nanoseconds };
        Growth { group: String::new(), case: String::new(), points: points.iter().map(point).collect() }
    }

    fn result(case: &str, n: u64, nanoseconds: f64) -> (Benchmark, Estimates) {
        let benchmark = format!(
            r#"{{"group_id":"migrations","function_id":"{case}","value_str":"{n}","throughput":{{"Elements":{n}}},
                "full_id":"migrations/{case}/{n}"}}"#
        );
        let estimates = format!(
            r#"{{"mean":{{"point_estimate":1.5}},"median":{{"standard_error":0.1,"point_estimate":{nanoseconds}}}}}"#
        );
        (serde_json::from_str(&benchmark).unwrap(), serde_json::from_str(&estimates).unwrap())
    }

    #[test]
    fn the_exponent_is_that_of_the_large_end() {
        let exponent =
            |points: &[(u64, f64)]| growth(points).exponent().map(|exponent| format!("{exponent:.2}"));
        assert_eq!(exponent(&[(10, 5.0), (100, 7.0), (1_000, 70.0)]).unwrap(), "1.00");
        assert_eq!(exponent(&[(100, 7.0), (1_000, 700.0)]).unwrap(), "2.00");
        assert_eq!(exponent(&[(100, 7.0), (1_000, 7.0)]).unwrap(), "0.00");
        assert_eq!(exponent(&[(100, 7.0)]), None);
    }

    #[test]
    fn the_results_of_a_case_are_put_together_by_size() {
        let results = vec![result("run", 100, 7.5), result("status", 10, 2.0), result("run", 10, 1.0)];
        let collected = collect(results);
        let cases: Vec<_> = collected.iter().map(|growth| growth.case.as_str()).collect();
        assert_eq!(cases, ["run", "status"]);
        let points = [Point { n: 10, nanoseconds: 1.0 }, Point { n: 100, nanoseconds: 7.5 }];
        assert_eq!(collected[0].points, points);
    }
}
