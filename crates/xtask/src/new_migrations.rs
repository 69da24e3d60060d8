//! What `kv-migrations new` writes into a copy of the quickstart: it must compile, be formatted, and pass its tests.

use anyhow::{Result, ensure};
use xshell::cmd;

use crate::console::progress;
use crate::workspace::Workspace;

/// Where the copy is made, below the checkout.
const DIRECTORY: &str = "target/new-migrations";
/// A name, and the option for its kind.
const NEW: [(&str, &[&str]); 4] = [
    ("greet", &[]),
    ("upper-case", &["--backfill"]),
    ("all examples", &["--fold"]),
    ("by_colon", &["--rekey"]),
];

pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    progress("testing what `kv-migrations new` writes, in a copy of the quickstart (half a minute)");
    let shell = workspace.shell()?;
    cmd!(shell, "cargo build --quiet --package kv-migrations-cli").quiet().run()?;
    let program = workspace.root.join("target/debug/kv-migrations");
    let directory = workspace.root.join(DIRECTORY);
    shell.remove_path(&directory)?;
    shell.create_dir(&directory)?;
    let example = workspace.root.join("examples/quickstart");
    cmd!(shell, "cp -R {example}/Cargo.toml {example}/Cargo.lock {example}/src {directory}").quiet().run()?;
    let crates = workspace.root.join("crates").display().to_string();
    let patches = ["kv-migrations", "kv-migrations-routes"]
        .map(|name| format!("patch.crates-io.{name}.path = '{crates}/{name}'\n"));
    shell.write_file(
        directory.join(".cargo/config.toml"),
        format!("build.target-dir = '..'\n{}", patches.concat()),
    )?;

    shell.change_dir(&directory);
    for (name, kind) in NEW {
        cmd!(shell, "{program} new {name} {kind...}").quiet().ignore_stdout().run()?;
    }
    let mut written = shell.read_dir("src/migrations")?;
    written.retain(|file| {
        NEW.iter().enumerate().any(|(place, _)| {
            file.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(&format!("m{:03}_", place + 3)))
        })
    });
    ensure!(written.len() == NEW.len(), "`kv-migrations new` wrote {} files", written.len());
    // As rustfmt is set up for a new package.
    cmd!(shell, "rustfmt --check --edition 2024 {written...}").quiet().run()?;
    cmd!(shell, "cargo test --quiet --lib").quiet().run()?;
    Ok(())
}
