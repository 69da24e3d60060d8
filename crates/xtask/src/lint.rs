//! `cargo xtask lint`: formatting, lints and documentation.

use anyhow::Result;
use xshell::{Shell, cmd};

use crate::console::heading;
use crate::tools::{CLIPPY, RUSTFMT, WASM_TARGET, ensure};
use crate::workers::{examples, test_workers};
use crate::workspace::Workspace;

/// The sets of features of kv-migrations that somebody can choose.
const CORE_NATIVE: [&[&str]; 4] =
    [&[], &["--features", "testing"], &["--features", "worker"], &["--all-features"]];
const CORE_WASM: [&[&str]; 2] = [&[], &["--features", "worker"]];

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    ensure(workspace, &RUSTFMT)?;
    ensure(workspace, &CLIPPY)?;
    ensure(workspace, &WASM_TARGET)?;

    let shell = workspace.shell()?;
    check_formatting(&shell)?;
    clippy_native(&shell)?;
    clippy_wasm(&shell)?;
    clippy_workers(workspace, &shell)?;
    check_documentation(&shell)
}

fn check_formatting(shell: &Shell) -> Result<()> {
    heading("formatting");
    cmd!(shell, "cargo fmt --all --check").quiet().run()?;
    Ok(())
}

fn clippy_native(shell: &Shell) -> Result<()> {
    clippy(shell, &["--package", "xtask", "--all-targets"])?;
    for features in CORE_NATIVE {
        clippy(shell, &[&["--package", "kv-migrations", "--all-targets"], features].concat())?;
    }
    clippy(shell, &["--package", "simulation", "--all-targets"])?;
    clippy(shell, &["--package", "kv-migrations-routes", "--all-targets"])
}

fn clippy_wasm(shell: &Shell) -> Result<()> {
    let target = WASM_TARGET.triple();
    for features in CORE_WASM {
        clippy(shell, &[&["--package", "kv-migrations", "--target", target], features].concat())?;
    }
    clippy(shell, &["--package", "kv-migrations-routes", "--target", target])
}

/// One by one: together, a Worker would get features that only another one asks for.
fn clippy_workers(workspace: &Workspace, shell: &Shell) -> Result<()> {
    for worker in examples(workspace)?.into_iter().chain(test_workers(workspace)?) {
        let manifest = worker.directory.join("Cargo.toml");
        let manifest = manifest.strip_prefix(&workspace.root)?.to_string_lossy();
        clippy(shell, &["--manifest-path", &manifest, "--target", WASM_TARGET.triple()])?;
    }
    Ok(())
}

fn clippy(shell: &Shell, selection: &[&str]) -> Result<()> {
    heading(&format!("clippy {}", selection.join(" ")));
    cmd!(shell, "cargo clippy --quiet {selection...} -- --deny warnings").quiet().run()?;
    Ok(())
}

fn check_documentation(shell: &Shell) -> Result<()> {
    heading("documentation");
    cmd!(
        shell,
        "cargo doc --quiet --no-deps --all-features --package kv-migrations --package kv-migrations-routes"
    )
    .env("RUSTDOCFLAGS", "--deny warnings")
    .quiet()
    .run()?;
    Ok(())
}
