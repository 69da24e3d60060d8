//! `cargo xtask audit`: what is checked before a release, and takes too long for every change.

mod dependencies;
mod panic_unwind;
mod public_api;

use anyhow::{Result, ensure};
use clap::Args;

use crate::console::heading;
use crate::workspace::Workspace;

type Check = fn(&Workspace) -> Result<()>;

const CHECKS: [(&str, Check); 3] = [
    ("public API", public_api::check),
    ("dependencies", dependencies::check),
    ("panics that unwind", panic_unwind::check),
];

#[derive(Args)]
pub(crate) struct Scope {
    /// Only write the public API as it is now into its listings
    #[arg(long)]
    update: bool,
}

/// Runs all checks, also after one has failed. Each installs what it needs.
pub(crate) fn run(workspace: &Workspace, scope: &Scope) -> Result<()> {
    if scope.update {
        return public_api::update(workspace);
    }
    let mut failed = Vec::new();
    for (title, check) in CHECKS {
        heading(title);
        if let Err(error) = check(workspace) {
            eprintln!("{error:#}");
            failed.push(title);
        }
    }
    ensure!(failed.is_empty(), "the audit failed: {}", failed.join(", "));
    Ok(())
}
