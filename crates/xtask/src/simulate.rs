//! `cargo xtask simulate`: migrations in simulated worlds, each drawn from a seed.

use anyhow::Result;
use clap::Args;
use xshell::cmd;

use crate::workspace::Workspace;

/// What `simulate` is told, in its own words.
#[derive(Args)]
pub(crate) struct Scope {
    /// `--seeds 1000000 --from 0`, `--seed 42`, `--sabotage mark-before-finish`: see `-- --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(workspace: &Workspace, scope: &Scope) -> Result<()> {
    let (shell, arguments) = (workspace.shell()?, &scope.arguments);
    // That profile is fast; `release` is made to be small.
    cmd!(shell, "cargo run --quiet --profile bench --package simulation -- {arguments...}").quiet().run()?;
    Ok(())
}

/// Runs this many worlds, from seed 0 on.
pub(crate) fn run_some(workspace: &Workspace, seeds: u64) -> Result<()> {
    let arguments = vec!["--seeds".to_owned(), seeds.to_string()];
    run(workspace, &Scope { arguments })
}
