//! `cargo xtask bench`: this project, and what a user would use instead, measured by turns in one run.

use std::fs;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use xshell::{Shell, cmd};

use crate::console::{progress, run_quietly};
use crate::size;
use crate::tools::WorkerToolchain;
use crate::workers::{Profile, Worker};
use crate::workspace::Workspace;

/// The Workers that are measured, and two that differ in their coordinator only.
const WORKERS: [&str; 5] = ["measured", "large", "by-hand", "quickstart", "coordinated"];

/// The packages that have benchmarks by criterion, and what these are called.
const CRITERION: [(&str, &str); 2] = [("kv-migrations", "growth"), ("kv-migrations-routes", "routing")];

/// Few and short samples. Criterion's own `--quick` makes do with two, which on a busy machine tell little.
const QUICK: [&str; 6] = ["--sample-size", "10", "--warm-up-time", "0.1", "--measurement-time", "0.3"];

/// Makes glibc keep freed pages, as the allocator of a Worker does. Otherwise the large end measures the kernel, which
/// takes pages back and gives them again: up to ten times what is to be measured.
const KEEP_PAGES: [(&str, &str); 2] =
    [("MALLOC_TRIM_THRESHOLD_", "1073741824"), ("MALLOC_MMAP_THRESHOLD_", "33554432")];

/// The most records of the long backfill, if it is to be quick.
const FEW: &str = "100000";

#[derive(Args)]
pub(crate) struct Scope {
    /// Less of everything, in less than 4 minutes, into target/benchmarks
    #[arg(long)]
    quick: bool,
}

/// One after the other, so that nothing else needs the machine meanwhile.
pub(crate) fn run(workspace: &Workspace, Scope { quick }: &Scope) -> Result<()> {
    let start = Instant::now();
    build_workers(workspace)?;
    measure_natively(&workspace.shell()?, *quick)?;
    progress(&format!(
        "measuring in workerd ({})",
        if *quick { "about 2 minutes" } else { "about 17 minutes" }
    ));
    workspace.node("bench/report.mjs", if *quick { &["--quick"] } else { &[] })?;
    println!("in {} s", start.elapsed().as_secs());
    Ok(())
}

fn build_workers(workspace: &Workspace) -> Result<()> {
    let toolchain = WorkerToolchain::ensure(workspace)?;
    size::build(workspace, &toolchain)?;
    size::build_kinds(workspace, &toolchain)?;
    for name in WORKERS {
        Worker::find(workspace, name)?.build(workspace, &toolchain, Profile::Release)?;
    }
    Ok(())
}

/// Leaves the results where `bench/report.mjs` reads them: in `target/growth` and `target/long.md`.
fn measure_natively(shell: &Shell, quick: bool) -> Result<()> {
    // A directory of its own: in that of `cargo bench` there are results of benchmarks that no longer exist.
    let results = shell.current_dir().join("target/growth");
    shell.remove_path(&results)?;
    let samples = if quick { QUICK.as_slice() } else { &[] };
    for (package, benchmark) in CRITERION {
        progress(&format!("measuring {package} natively (about half a minute, after building it)"));
        run_quietly(
            cmd!(shell, "cargo bench --quiet --package {package} --features kv-migrations/testing --bench {benchmark} -- {samples...}")
                .env("CRITERION_HOME", &results)
                .envs(KEEP_PAGES),
        )?;
    }
    progress("running long backfills natively");
    let most = quick.then_some(FEW);
    let table = cmd!(
        shell,
        "cargo bench --quiet --package kv-migrations --features testing --bench long -- {most...}"
    )
    .quiet()
    .read()?;
    fs::write(shell.current_dir().join("target/long.md"), table)?;
    Ok(())
}
