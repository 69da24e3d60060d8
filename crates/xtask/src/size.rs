//! `cargo xtask size`: what mounting the routes adds to a Worker, and what each kind of migration adds to that.

use anyhow::Result;

use crate::tools::WorkerToolchain;
use crate::workers::{Profile, Worker};
use crate::workspace::Workspace;

/// A minimal axum Worker.
const BASELINE: &str = "size-baseline";
/// The same with the routes mounted, and with a migration of a kind if its feature is on.
const MOUNTED: &str = "size-mounted";
const KINDS: [&str; 12] = [
    "backfill",
    "backfill-json",
    "backfill-typed",
    "backfill-in-batches",
    "fold",
    "fold-merging",
    "rekey",
    "rekey-by-value",
    "rekey-by-table",
    "rekey-into-namespace",
    "dry-run",
    "page",
];

/// How many bytes the routes may add, gzipped and without the names of functions. It is little more than they do add, so
/// that an increase is noticed.
const LIMIT: u64 = 57_390;

#[derive(clap::Args, Default)]
pub(crate) struct Scope {
    /// Measure what each kind of migration adds, too, which takes a minute for each
    #[arg(long)]
    kinds: bool,
}

/// Prints the sizes, and fails if the routes add more than they may.
pub(crate) fn run(workspace: &Workspace, Scope { kinds }: &Scope) -> Result<()> {
    let toolchain = WorkerToolchain::ensure(workspace)?;
    if *kinds {
        build_kinds(workspace, &toolchain)?;
    }
    build(workspace, &toolchain)?;
    let limit = LIMIT.to_string();
    let mut arguments = vec!["--limit", &limit];
    arguments.extend(kinds.then_some("--kinds"));
    workspace.node("bench/size.mjs", &arguments)
}

/// Builds the two Workers.
pub(crate) fn build(workspace: &Workspace, toolchain: &WorkerToolchain) -> Result<()> {
    for name in [BASELINE, MOUNTED] {
        Worker::find(workspace, name)?.build(workspace, toolchain, Profile::Release)?;
    }
    Ok(())
}

/// Builds the second Worker with each kind and with all of them, each into a directory of its own; and the first one with
/// `serde_json`, which most kinds need.
pub(crate) fn build_kinds(workspace: &Workspace, toolchain: &WorkerToolchain) -> Result<()> {
    let worker = Worker::find(workspace, MOUNTED)?;
    workspace.shell_in(&worker.directory)?.remove_path("build/kinds")?;
    for kind in KINDS {
        worker.build_with_features(workspace, toolchain, kind, &format!("build/kinds/{kind}"))?;
    }
    worker.build_with_features(workspace, toolchain, &KINDS.join(","), "build/kinds/all")?;
    let baseline = Worker::find(workspace, BASELINE)?;
    baseline.build_with_features(workspace, toolchain, "serde-json", "build/serde-json")
}
