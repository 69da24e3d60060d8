//! `cargo xtask lint`: formatting, imports, lints and documentation.

use anyhow::Result;
use xshell::{Shell, cmd};

use crate::console::heading;
use crate::documents::words;
use crate::imports;
use crate::tools::{CLIPPY, CargoTool, RUSTFMT, WASM_TARGET, install_missing};
use crate::workers::Worker;
use crate::workspace::Workspace;

/// What is compiled for the machine that it runs on.
const NATIVE: [&str; 5] =
    ["xtask", "simulation", "kv-migrations", "kv-migrations-routes", "kv-migrations-cli"];
/// For WebAssembly the core needs its feature `worker`; other packages have no such feature.
const WORKERS: [&str; 3] = ["--features", "worker", "--ignore-unknown-features"];
/// What no Worker is made of.
const NEVER_WASM: [&str; 3] = ["xtask", "simulation", "kv-migrations-cli"];

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    install_missing(workspace, &RUSTFMT)?;
    install_missing(workspace, &CLIPPY)?;
    install_missing(workspace, &WASM_TARGET)?;

    let shell = workspace.shell()?;
    heading("formatting");
    cmd!(shell, "cargo fmt --all --check").quiet().run()?;
    imports::check(workspace)?;
    words::check(workspace)?;

    let native = NATIVE.map(|package| ["--package", package]).concat();
    clippy(workspace, &shell, "native", &[&native[..], &["--all-targets"]].concat())?;
    let wasm = NEVER_WASM.map(|package| ["--exclude", package]).concat();
    clippy(
        workspace,
        &shell,
        "WebAssembly",
        &[&["--workspace", "--target", WASM_TARGET.name], &WORKERS[..], &wasm[..]].concat(),
    )?;
    check_examples(workspace)?;
    check_documentation(&shell)
}

/// As their own users would: each is a workspace of its own, with the lints that cargo has on.
fn check_examples(workspace: &Workspace) -> Result<()> {
    heading("examples");
    for example in Worker::examples(workspace)? {
        let shell = workspace.shell_in(&example.directory)?;
        cmd!(shell, "cargo fmt --check").quiet().run()?;
        let platform = WASM_TARGET.name;
        cmd!(shell, "cargo clippy --quiet --locked --target {platform} -- --deny warnings").quiet().run()?;
    }
    Ok(())
}

/// Checks each package by itself, with each of its features alone, with all and with none. Together, packages would share
/// features that each must do without. `sabotage` is for the simulation, which is checked with it; `default` is one feature, which
/// is checked by its own name.
fn clippy(workspace: &Workspace, shell: &Shell, title: &str, selection: &[&str]) -> Result<()> {
    heading(&format!("clippy, {title}"));
    let hack = CargoTool::hack().command(workspace, shell)?;
    hack.args(["hack", "clippy", "--quiet", "--each-feature", "--exclude-features", "sabotage,default"])
        .args(selection)
        .args(["--", "--deny", "warnings"])
        .run()?;
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
