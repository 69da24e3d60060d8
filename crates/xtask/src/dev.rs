//! `cargo xtask dev`: an example in `wrangler dev`, as its own user would run it.

use std::process::Command;

use anyhow::Result;
use xshell::cmd;

use crate::tools::WorkerToolchain;
use crate::workers::Worker;
use crate::workspace::Workspace;

pub(crate) fn run(workspace: &Workspace, example: &str, port: u16) -> Result<()> {
    let worker = Worker::find(workspace, example)?;
    let toolchain = WorkerToolchain::ensure(workspace)?;

    let shell = workspace.shell_in(&worker.directory)?;
    let wrangler = &toolchain.wrangler;
    let port = port.to_string();
    let command = cmd!(shell, "{wrangler} dev --port {port}")
        .envs(toolchain.build_command_variables(workspace)?)
        .env("WRANGLER_SEND_METRICS", "false");
    replace_this_process(command.into())
}

/// So that Ctrl-C reaches wrangler, and the shell waits until it has stopped.
#[cfg(unix)]
fn replace_this_process(mut command: Command) -> Result<()> {
    use std::os::unix::process::CommandExt;
    Err(command.exec().into())
}

#[cfg(not(unix))]
fn replace_this_process(mut command: Command) -> Result<()> {
    let status = command.status()?;
    anyhow::ensure!(status.success(), "wrangler failed: {status}");
    Ok(())
}
