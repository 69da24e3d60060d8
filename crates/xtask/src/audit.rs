//! `cargo xtask audit`: what is checked before a release, and takes too long for every change.

mod build_commands;
mod dependencies;
mod panic_unwind;
mod public_api;
mod runtimes;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use crate::console::heading;
use crate::workspace::Workspace;

/// In the order in which they run.
#[derive(Clone, Copy, ValueEnum)]
enum Check {
    PublicApi,
    Dependencies,
    PanicUnwind,
    BuildCommands,
    Runtimes,
}

#[derive(Args)]
pub(crate) struct Scope {
    /// Only these checks
    checks: Vec<Check>,
    /// Only write the public API as it is now into its listings
    #[arg(long)]
    update: bool,
}

/// Runs all checks, also after one has failed. Each installs what it needs.
pub(crate) fn run(workspace: &Workspace, scope: &Scope) -> Result<()> {
    if scope.update {
        return public_api::update(workspace);
    }
    let all = Check::value_variants();
    let mut failed = Vec::new();
    for check in if scope.checks.is_empty() { all } else { &scope.checks } {
        heading(check.title());
        if let Err(error) = check.run(workspace) {
            eprintln!("{error:#}");
            failed.push(check.title());
        }
    }
    ensure!(failed.is_empty(), "the audit failed: {}", failed.join(", "));
    Ok(())
}

impl Check {
    fn title(self) -> &'static str {
        match self {
            Self::PublicApi => "public API",
            Self::Dependencies => "dependencies",
            Self::PanicUnwind => "panics that unwind",
            Self::BuildCommands => "build commands of the examples",
            Self::Runtimes => "versions of Node.js, Miniflare and wrangler",
        }
    }

    fn run(self, workspace: &Workspace) -> Result<()> {
        match self {
            Self::PublicApi => public_api::check(workspace),
            Self::Dependencies => dependencies::check(workspace),
            Self::PanicUnwind => panic_unwind::check(workspace),
            Self::BuildCommands => build_commands::check(workspace),
            Self::Runtimes => runtimes::check(workspace),
        }
    }
}
