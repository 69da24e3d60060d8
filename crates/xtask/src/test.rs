//! `cargo xtask test`: every test that there is.

use anyhow::{Result, ensure};
use xshell::{Shell, cmd};

use crate::console::heading;
use crate::new_migrations;
use crate::package;
use crate::paste;
use crate::simulate;
use crate::size;
use crate::tools::{BROWSER, NONE, WorkerToolchain, browser};
use crate::workers::{Profile, Worker};
use crate::workspace::Workspace;

/// The Workers that are only measured, and built for that. Lint checks that they compile.
const MEASURED_ONLY: [&str; 3] = ["by-hand", "size-baseline", "size-mounted"];

/// Some seconds of simulated worlds.
const SEEDS: u64 = 5_000;

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let toolchain = WorkerToolchain::ensure(workspace)?;
    test_crates(&workspace.shell()?)?;
    heading("simulation");
    simulate::run_some(workspace, SEEDS)?;
    package::check(workspace)?;
    new_migrations::check(workspace)?;
    heading("size");
    size::run(workspace, &size::Scope::default())?;
    build_workers(workspace, &toolchain)?;
    test_end_to_end(workspace)
}

fn test_crates(shell: &Shell) -> Result<()> {
    heading("tests of kv-migrations");
    cmd!(shell, "cargo test --package kv-migrations --features testing").quiet().run()?;
    heading("tests of kv-migrations-routes");
    cmd!(shell, "cargo test --package kv-migrations-routes").quiet().run()?;
    heading("tests of kv-migrations-cli");
    cmd!(shell, "cargo test --package kv-migrations-cli").quiet().run()?;
    heading("tests of the simulation");
    cmd!(shell, "cargo test --profile bench --package simulation").quiet().run()?;
    heading("tests of xtask");
    cmd!(shell, "cargo test --package xtask").quiet().run()?;
    Ok(())
}

pub(crate) fn build_workers(workspace: &Workspace, toolchain: &WorkerToolchain) -> Result<()> {
    heading("Workers");
    for worker in Worker::all(workspace)? {
        if !MEASURED_ONLY.contains(&worker.name.as_str()) {
            worker.build(workspace, toolchain, Profile::Dev)?;
        }
    }
    paste::build(workspace, toolchain)
}

pub(crate) fn test_end_to_end(workspace: &Workspace) -> Result<()> {
    heading("end to end in workerd");
    // Its tests run the program.
    let root = workspace.shell()?;
    cmd!(root, "cargo build --quiet --package kv-migrations-cli").quiet().run()?;
    let browser = browser(workspace)?;
    if browser == NONE {
        println!("NOT TESTED: the page in a browser, because of {BROWSER}={NONE}");
    }
    let shell = workspace.shell_in(workspace.end_to_end_tests())?;
    shell.set_var(BROWSER, browser);
    let mut files = shell.read_dir(".")?;
    files.retain(|file| file.to_string_lossy().ends_with(".test.mjs"));
    ensure!(!files.is_empty(), "there is no *.test.mjs in {}", shell.current_dir().display());
    // Most of the time they wait: for alarms, for KV, for a Worker to start. Node.js runs one file at a time on two cores.
    let options = ["--test-reporter=spec", "--test-timeout=300000", "--test-concurrency=2"];
    cmd!(shell, "node --test {options...} {files...}").quiet().run()?;
    Ok(())
}
