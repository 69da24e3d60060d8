//! `cargo xtask bench`: this project, and what a user would use instead, measured by turns in one run.

mod contents;
mod growth;
mod machine;
mod markdown;
mod numbers;
mod plot;
mod report;
mod workerd;

use std::fs;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use xshell::cmd;

use crate::console::progress;
use crate::size::Sizes;
use crate::tools::WorkerToolchain;
use crate::workers::{Profile, Worker};
use crate::workspace::Workspace;
use growth::Growth;
use workerd::Measured;

/// The Worker that is measured. Those whose size is measured are built for that.
const SUBJECT: &str = "measured";
/// The most records of the long backfill, if there is little time for it.
const FEW: &str = "100000";

#[derive(Args)]
pub(crate) struct Scope {
    /// Less of everything, in less than 3 minutes, into target/benchmarks
    #[arg(long)]
    quick: bool,
}

/// All that is measured.
struct Results {
    machine: String,
    sizes: Sizes,
    /// Not if it is to be quick.
    coordinator: Option<Sizes>,
    /// What the WebAssembly has more with the routes, by crate and section, in bytes.
    contents: Vec<(String, i64)>,
    workerd: Measured,
    growths: Vec<Growth>,
    /// A table.
    long: String,
}

pub(crate) fn run(workspace: &Workspace, scope: &Scope) -> Result<()> {
    let start = Instant::now();
    let results = measure(workspace, scope.quick)?;
    let directory = workspace.root.join(if scope.quick { "target/benchmarks" } else { "docs" });
    fs::create_dir_all(&directory)?;
    let page = directory.join("benchmarks.md");
    report::write(&results, &page)?;
    println!("{} (in {} s)", page.display(), start.elapsed().as_secs());
    Ok(())
}

/// One after the other, so that nothing else needs the machine meanwhile.
fn measure(workspace: &Workspace, quick: bool) -> Result<Results> {
    let toolchain = WorkerToolchain::ensure(workspace)?;
    let sizes = Sizes::measure(workspace, &toolchain)?;
    let coordinator = (!quick).then(|| Sizes::measure_coordinator(workspace, &toolchain)).transpose()?;
    Worker::for_tests(workspace, SUBJECT)?.build(workspace, &toolchain, Profile::Release)?;
    Ok(Results {
        machine: machine::describe(workspace)?,
        contents: contents::added(&sizes.without.file, &sizes.with.file)?,
        sizes,
        coordinator,
        workerd: Measured::measure(workspace, quick)?,
        growths: growth::measure(workspace, quick)?,
        long: long(workspace, quick)?,
    })
}

/// Up to ten million records.
fn long(workspace: &Workspace, quick: bool) -> Result<String> {
    progress("running long backfills natively");
    let (shell, few) = (workspace.shell()?, quick.then_some(FEW));
    Ok(cmd!(shell, "cargo bench --quiet --package kv-migrations --bench long -- {few...}").quiet().read()?)
}
