//! `cargo xtask demo`: examples in workerd, used as a user would, with every answer or record checked.

use std::path::PathBuf;

use anyhow::Result;
use xshell::cmd;

use crate::tools::WorkerToolchain;
use crate::workers::{Profile, Worker};
use crate::workspace::Workspace;

/// How much of the gazetteer to migrate, how, and where.
#[derive(clap::Args)]
pub(crate) struct Scope {
    /// Migrate only this many places, the first ones
    #[arg(long)]
    pub(crate) limit: Option<usize>,
    /// Migrate by the variant of one migration: a re-key that sees the values, and changes them on their way
    #[arg(long)]
    pub(crate) by_value: bool,
    /// Roll all migrations back in the end, and check that everything is as it was
    #[arg(long)]
    pub(crate) and_back: bool,
    /// Keep the KV in this directory rather than in `target`: on a RAM disk it is faster
    #[arg(long)]
    pub(crate) directory: Option<PathBuf>,
}

pub(crate) fn quickstart(workspace: &Workspace) -> Result<()> {
    build(workspace, "quickstart")?;
    workspace.node("demo/quickstart.mjs", &[])
}

/// The first scene of it in `wrangler dev`, which builds the Worker as its wrangler.toml says.
pub(crate) fn quickstart_by_wrangler(workspace: &Workspace) -> Result<()> {
    let toolchain = WorkerToolchain::ensure(workspace)?;
    let shell = workspace.shell_in(workspace.end_to_end_tests())?;
    cmd!(shell, "node demo/quickstart.mjs --by-wrangler")
        .envs(toolchain.build_command_variables(workspace)?)
        .quiet()
        .run()?;
    Ok(())
}

pub(crate) fn gazetteer(workspace: &Workspace, scope: &Scope) -> Result<()> {
    build(workspace, "gazetteer")?;
    let parent = workspace.root.join(scope.directory.as_deref().unwrap_or("target".as_ref()));
    let directory = parent.join("gazetteer-demo").display().to_string();
    let mut arguments = vec!["--directory".to_owned(), directory];
    arguments.extend(scope.limit.map(|limit| format!("--limit={limit}")));
    arguments.extend(scope.by_value.then(|| "--by-value".to_owned()));
    arguments.extend(scope.and_back.then(|| "--and-back".to_owned()));
    workspace.node("demo/gazetteer.mjs", &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Both variants, with few places.
pub(crate) fn small_gazetteers(workspace: &Workspace) -> Result<()> {
    build(workspace, "gazetteer")?;
    workspace.node("--test", &["gazetteer.test.mjs"])
}

fn build(workspace: &Workspace, example: &str) -> Result<()> {
    let toolchain = WorkerToolchain::ensure(workspace)?;
    Worker::find(workspace, example)?.build(workspace, &toolchain, Profile::Dev)
}
