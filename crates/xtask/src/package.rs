//! Whether what is published builds by itself.

use std::path::Path;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::console::heading;
use crate::workspace::Workspace;

/// In the order in which they depend on each other.
const PACKAGES: [&str; 2] = ["kv-migrations", "kv-migrations-routes"];

/// Cargo's own check would do, but for one thing: it keeps what it once unpacked and compiled of a version, and would
/// check the routes against the kv-migrations of last time.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    heading("packages");
    let shell = workspace.shell()?;
    let target = workspace.root.join("target/package-check");
    let packages = PACKAGES.map(|package| ["--package", package]).concat();
    cmd!(shell, "cargo package --quiet --allow-dirty --no-verify --target-dir {target} {packages...}")
        .quiet()
        .run()?;

    let unpacked = target.join("unpacked");
    shell.remove_path(&unpacked)?;
    shell.create_dir(&unpacked)?;
    let core = unpack(&shell, &target, &unpacked, PACKAGES[0])?;
    let routes = unpack(&shell, &target, &unpacked, PACKAGES[1])?;
    let unpublished = format!("patch.crates-io.{}.path='{core}'", PACKAGES[0]);
    cmd!(shell, "cargo check --quiet --manifest-path {routes}/Cargo.toml --config {unpublished}")
        .args(["--target-dir".as_ref(), target.as_os_str()])
        .quiet()
        .run()?;
    Ok(())
}

/// Where the package then lies.
fn unpack(shell: &Shell, target: &Path, unpacked: &Path, package: &str) -> Result<String> {
    let name = format!("{package}-{}", env!("CARGO_PKG_VERSION"));
    let archive = target.join("package").join(format!("{name}.crate"));
    cmd!(shell, "tar -xzf {archive} -C {unpacked}").quiet().run()?;
    let path = unpacked.join(name).into_os_string().into_string();
    path.ok().context("the path of the checkout is not UTF-8")
}
