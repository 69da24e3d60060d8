//! The build commands in the examples' wrangler.toml, as `wrangler deploy` runs them.

use std::ffi::OsString;

use anyhow::Result;
use xshell::{Shell, cmd};

use crate::console::{progress, run_quietly};
use crate::tools::WorkerToolchain;
use crate::workers::Worker;
use crate::workspace::Workspace;

/// What `worker-build` downloads comes from here, and from npm's registry.
const DOWNLOADS: &str = "https://github.com";

pub(super) fn check(workspace: &Workspace) -> Result<()> {
    let toolchain = WorkerToolchain::ensure(workspace)?;
    progress("with worker-build and the programs that it calls from the cache");
    deploy_examples(workspace, &toolchain, &toolchain.build_command_variables(workspace)?)?;

    let installed = workspace.root.join("target/audit/build-commands");
    let shell = workspace.shell()?;
    shell.remove_path(&installed)?;
    // Where `cargo install` puts worker-build, and where that puts its downloads.
    let mut variables = vec![
        ("CARGO_INSTALL_ROOT", installed.clone().into_os_string()),
        ("XDG_CACHE_HOME", installed.join("cache").into_os_string()),
        ("PATH", workspace.path_with(&installed.join("bin"))?),
    ];
    if is_reachable(&shell) {
        progress("with worker-build from the registry, and the programs that it downloads (5 minutes)");
    } else {
        progress("with worker-build from the registry (5 minutes)");
        println!("downloads by worker-build NOT CHECKED: {DOWNLOADS} is out of reach");
        variables.extend(toolchain.worker_build_variables().map(|(name, path)| (name, path.into())));
    }
    deploy_examples(workspace, &toolchain, &variables)
}

fn deploy_examples(
    workspace: &Workspace,
    toolchain: &WorkerToolchain,
    variables: &[(&str, OsString)],
) -> Result<()> {
    for Worker { name, directory } in Worker::examples(workspace)? {
        progress(&format!("building {name} by its build command"));
        let shell = workspace.shell_in(&directory)?;
        // What an earlier build left would pass for the outcome of this one.
        shell.remove_path("build")?;
        let output = workspace.root.join("target/audit/deployed").join(name);
        let wrangler = &toolchain.wrangler;
        let mut deploy = cmd!(shell, "{wrangler} deploy --dry-run --outdir {output}");
        for (variable, _) in toolchain.worker_build_variables() {
            deploy = deploy.env_remove(variable);
        }
        let variables = variables.iter().map(|(name, value)| (name, value));
        run_quietly(deploy.envs(variables).env("WRANGLER_SEND_METRICS", "false"))?;
    }
    Ok(())
}

fn is_reachable(shell: &Shell) -> bool {
    let probe = cmd!(shell, "curl --silent --fail --head --max-time 20 {DOWNLOADS}");
    probe.quiet().ignore_status().ignore_stdout().output().is_ok_and(|run| run.status.success())
}
