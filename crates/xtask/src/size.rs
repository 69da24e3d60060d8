//! `cargo xtask size`: what mounting the routes adds to a Worker.

use anyhow::Result;

use crate::tools::WorkerToolchain;
use crate::workers::{Profile, Worker};
use crate::workspace::Workspace;

/// A minimal axum Worker, and the same with the routes mounted.
const WORKERS: [&str; 2] = ["size-baseline", "size-mounted"];

/// How many bytes the routes may add, gzipped and without the names of functions. It is little more than they do add, so
/// that an increase is noticed.
const LIMIT: u64 = 45_000;

/// Prints the sizes, and fails if the routes add more than they may.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    build(workspace, &WorkerToolchain::ensure(workspace)?)?;
    workspace.node("bench/size.mjs", &["--limit", &LIMIT.to_string()])
}

pub(crate) fn build(workspace: &Workspace, toolchain: &WorkerToolchain) -> Result<()> {
    for name in WORKERS {
        Worker::find(workspace, name)?.build(workspace, toolchain, Profile::Release)?;
    }
    Ok(())
}
