//! Whether what is published builds by itself, and an example that is copied out of this repository.

use std::path::Path;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::console::{heading, progress};
use crate::tools::{WASM_TARGET, install_missing};
use crate::workers::Worker;
use crate::workspace::Workspace;

/// In the order in which they depend on each other.
const PACKAGES: [&str; 3] = ["kv-migrations", "kv-migrations-routes", "kv-migrations-cli"];

/// Packs all crates, and checks the second against the first as `cargo package` cannot before the first is published.
/// Builds the command line as `cargo install` does, and each example from the packages, outside of this repository.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    heading("packages");
    let shell = workspace.shell()?;
    let target = workspace.root.join("target");
    let directory = target.join("package-check");
    let packages = PACKAGES.map(|package| ["--package", package]).concat();
    cmd!(shell, "cargo package --quiet --allow-dirty --no-verify --target-dir {directory} {packages...}")
        .quiet()
        .run()?;

    let unpacked = directory.join("unpacked");
    shell.remove_path(&unpacked)?;
    shell.create_dir(&unpacked)?;
    let [core, routes, cli] = PACKAGES.map(|package| unpack(&shell, &directory, &unpacked, package));
    let (core, routes, cli) = (core?, routes?, cli?);

    // What is not in the registry yet.
    let core_patch = format!("patch.crates-io.{}.path='{core}'", PACKAGES[0]);
    let routes_patch = format!("patch.crates-io.{}.path='{routes}'", PACKAGES[1]);
    // For the platform, and in the directory, for which the dependencies were compiled before.
    install_missing(workspace, &WASM_TARGET)?;
    let platform = ["--target", WASM_TARGET.name];
    cmd!(
        shell,
        "cargo check --quiet --manifest-path {routes}/Cargo.toml --config {core_patch} {platform...} --target-dir {target}"
    )
    .quiet()
    .run()?;

    // With the versions in its own `Cargo.lock`, which are those that the tests compiled.
    cmd!(shell, "cargo build --quiet --locked --manifest-path {cli}/Cargo.toml --target-dir {target}")
        .quiet()
        .run()?;

    for Worker { name, directory } in Worker::examples(workspace)? {
        progress(&format!("building a copy of the example {name}"));
        let copy = shell.create_temp_dir()?;
        let copy = copy.path();
        cmd!(shell, "cp -R {directory}/Cargo.toml {directory}/Cargo.lock {directory}/src {copy}")
            .quiet()
            .run()?;
        cmd!(
            shell,
            "cargo build --quiet --manifest-path {copy}/Cargo.toml --config {core_patch} --config {routes_patch} {platform...} --target-dir {target}"
        )
        .quiet()
        .run()?;
    }
    Ok(())
}

/// Where the package is then.
fn unpack(shell: &Shell, directory: &Path, unpacked: &Path, package: &str) -> Result<String> {
    let name = format!("{package}-{}", env!("CARGO_PKG_VERSION"));
    let archive = directory.join("package").join(format!("{name}.crate"));
    // With the time of now: in the archive every file has the same one, by which cargo would take it for unchanged.
    cmd!(shell, "tar -xzmf {archive} -C {unpacked}").quiet().run()?;
    let path = unpacked.join(name).into_os_string().into_string();
    path.ok().context("the path of the checkout is not UTF-8")
}
