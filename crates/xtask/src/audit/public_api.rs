//! The public API of the published crates: it may not change unnoticed.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use xshell::cmd;

use crate::tools::CargoTool;
use crate::workspace::Workspace;

/// A file for each crate, which lists its public items.
const LISTINGS: &str = "docs/internals/public-api";

/// The crates, and their features for users.
const CRATES: [(&str, &str); 2] = [("kv-migrations", "testing,worker"), ("kv-migrations-routes", "")];

/// Traits of the compiler by which no user's code breaks.
const UNLISTED: [&str; 3] = ["marker::Freeze for", "marker::UnsafeUnpin for", "UnwindSafe for"];

pub(super) fn check(workspace: &Workspace) -> Result<()> {
    let mut changed = Vec::new();
    for (package, features) in CRATES {
        let recorded = fs::read_to_string(file(workspace, package)).unwrap_or_default();
        if show_difference(&recorded, &list(workspace, package, features)?) {
            changed.push(package);
        }
    }
    ensure!(
        changed.is_empty(),
        "the public API of {} differs from {LISTINGS}. If that is intended, note it in CHANGELOG.md and run \
         `cargo xtask audit --update`",
        changed.join(" and ")
    );
    Ok(())
}

pub(super) fn update(workspace: &Workspace) -> Result<()> {
    fs::create_dir_all(workspace.root.join(LISTINGS))?;
    for (package, features) in CRATES {
        fs::write(file(workspace, package), list(workspace, package, features)?)?;
    }
    println!("the public API is listed in {LISTINGS}");
    Ok(())
}

fn file(workspace: &Workspace, package: &str) -> PathBuf {
    workspace.root.join(LISTINGS).join(package).with_added_extension("txt")
}

/// An item a line.
fn list(workspace: &Workspace, package: &str, features: &str) -> Result<String> {
    let shell = workspace.shell()?;
    // A directory of its own: some build scripts make other code where unstable features are allowed.
    let target = workspace.root.join("target/audit");
    cmd!(
        shell,
        "cargo rustdoc --quiet --lib --package {package} --features {features} --target-dir {target}"
    )
    .args(["--", "-Z", "unstable-options", "--output-format", "json", "--cap-lints", "allow"])
    // Only unstable Rust documents as JSON.
    .env("RUSTC_BOOTSTRAP", "1")
    .quiet()
    .run()?;
    let json = target.join("doc").join(package.replace('-', "_")).with_added_extension("json");
    let listing = CargoTool::public_api()
        .command(workspace, &shell)?
        .args(["public-api", "--omit", "blanket-impls", "--color", "never", "--rustdoc-json"])
        .arg(json)
        .read()?;
    let lines = listing.lines().filter(|line| !UNLISTED.iter().any(|unlisted| line.contains(unlisted)));
    Ok(lines.flat_map(|line| [line, "\n"]).collect())
}

/// Prints the lines that only one of both has, and tells whether there are any.
fn show_difference(before: &str, now: &str) -> bool {
    let [old, new]: [BTreeSet<&str>; 2] = [before, now].map(|listing| listing.lines().collect());
    old.difference(&new).for_each(|line| println!("- {line}"));
    new.difference(&old).for_each(|line| println!("+ {line}"));
    old != new
}
