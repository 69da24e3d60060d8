//! The Worker crates of this repository: the examples, and those that only tests deploy.

use std::path::PathBuf;

use anyhow::{Context, Result};
use xshell::cmd;

use crate::console::{progress, run_quietly};
use crate::tools::WorkerToolchain;
use crate::workspace::Workspace;

/// Each is a workspace of its own.
const EXAMPLES: &str = "examples";
/// Members of the workspace of this repository.
const FOR_TESTS: &str = "tests/workerd/workers";

pub(crate) struct Worker {
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
}

#[derive(Clone, Copy)]
pub(crate) enum Profile {
    Dev,
    Release,
    /// As `Dev`, by a nightly toolchain.
    PanicUnwind,
}

impl Worker {
    /// An example, or a Worker for tests.
    pub(crate) fn find(workspace: &Workspace, name: &str) -> Result<Self> {
        let workers = Self::all(workspace)?;
        let names: Vec<_> = workers.iter().map(|worker| worker.name.clone()).collect();
        let found = workers.into_iter().find(|worker| worker.name == name);
        found.with_context(|| format!("there is no Worker {name}; there are: {}", names.join(", ")))
    }

    pub(crate) fn all(workspace: &Workspace) -> Result<Vec<Self>> {
        let mut workers = Self::examples(workspace)?;
        workers.extend(Self::in_directory(workspace, FOR_TESTS)?);
        Ok(workers)
    }

    pub(crate) fn examples(workspace: &Workspace) -> Result<Vec<Self>> {
        Self::in_directory(workspace, EXAMPLES)
    }

    fn in_directory(workspace: &Workspace, parent: &str) -> Result<Vec<Self>> {
        let mut workers = Vec::new();
        for directory in workspace.shell()?.read_dir(parent)? {
            if let Some(name) = directory.file_name().filter(|_| directory.join("Cargo.toml").exists()) {
                workers.push(Self { name: name.display().to_string(), directory });
            }
        }
        Ok(workers)
    }

    /// Leaves the Worker in its directory `build`. Built from there, it gets only the features that it asks for.
    pub(crate) fn build(
        &self,
        workspace: &Workspace,
        toolchain: &WorkerToolchain,
        profile: Profile,
    ) -> Result<()> {
        progress(&format!("building {} ({})", self.name, profile.duration()));
        let shell = workspace.shell_in(&self.directory)?;
        let worker_build = &toolchain.worker_build;
        let flags = profile.flags();
        run_quietly(cmd!(shell, "{worker_build} {flags...}").envs(toolchain.worker_build_variables()))
    }

    /// Builds for release, with features that commas separate, into this directory of the Worker.
    pub(crate) fn build_with_features(
        &self,
        workspace: &Workspace,
        toolchain: &WorkerToolchain,
        features: &str,
        directory: &str,
    ) -> Result<()> {
        progress(&format!("building {} with {features} (half a minute)", self.name));
        let shell = workspace.shell_in(&self.directory)?;
        let worker_build = &toolchain.worker_build;
        let command = cmd!(shell, "{worker_build} --release --out-dir {directory} . --features {features}");
        run_quietly(command.envs(toolchain.worker_build_variables()))
    }
}

impl Profile {
    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Dev => &["--dev"],
            Self::Release => &["--release"],
            Self::PanicUnwind => &["--dev", "--panic-unwind"],
        }
    }

    fn duration(self) -> &'static str {
        match self {
            Self::Dev => "about 2 minutes the first time, then a few seconds",
            Self::Release => "about 3 minutes the first time, then half a minute",
            Self::PanicUnwind => "about 4 minutes the first time, then a few seconds",
        }
    }
}
