//! `cargo xtask test`: every test that there is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use xshell::{Shell, cmd};

use crate::console::heading;
use crate::demo::gazetteer::{self, Scope};
use crate::package;
use crate::simulate;
use crate::size;
use crate::tools::WorkerToolchain;
use crate::workers::{Profile, examples, test_workers};
use crate::workspace::Workspace;

/// Enough for migrations that take several requests, in which the server can be killed.
const PLACES: usize = 1_500;
/// Some seconds of simulated worlds.
const SEEDS: u64 = 5_000;

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let toolchain = WorkerToolchain::ensure(workspace)?;
    test_crates(&workspace.shell()?)?;
    heading("simulation");
    simulate::run_some(workspace, SEEDS)?;
    package::check(workspace)?;
    heading("size");
    size::check(workspace, &toolchain)?;
    build_workers(workspace, &toolchain)?;
    test_end_to_end(workspace)?;
    gazetteer::run(workspace, &Scope { limit: Some(PLACES), ..Scope::default() })
}

fn test_crates(shell: &Shell) -> Result<()> {
    heading("tests of kv-migrations");
    cmd!(shell, "cargo test --package kv-migrations --features testing").quiet().run()?;
    heading("tests of kv-migrations-routes");
    cmd!(shell, "cargo test --package kv-migrations-routes").quiet().run()?;
    heading("tests of the simulation");
    cmd!(shell, "cargo test --profile bench --package simulation").quiet().run()?;
    heading("tests of xtask");
    cmd!(shell, "cargo test --package xtask").quiet().run()?;
    Ok(())
}

fn build_workers(workspace: &Workspace, toolchain: &WorkerToolchain) -> Result<()> {
    heading("Workers");
    for worker in examples(workspace)?.into_iter().chain(test_workers(workspace)?) {
        worker.build(workspace, toolchain, Profile::Dev)?;
    }
    Ok(())
}

fn test_end_to_end(workspace: &Workspace) -> Result<()> {
    heading("end to end in workerd");
    let directory = workspace.end_to_end_tests();
    let files = test_files(&directory)?;
    ensure!(!files.is_empty(), "there is no *.test.mjs in {}", directory.display());
    let shell = workspace.shell_in(&directory)?;
    cmd!(shell, "node --test --test-reporter=spec --test-timeout=300000 {files...}").quiet().run()?;
    Ok(())
}

fn test_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(".test.mjs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
