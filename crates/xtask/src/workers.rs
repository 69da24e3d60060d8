//! The Worker crates of this repository: the examples, and those that only tests deploy.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use xshell::cmd;

use crate::console::{progress, run_quietly};
use crate::tools::WorkerToolchain;
use crate::workspace::Workspace;

const EXAMPLES: &str = "examples";
const TEST_WORKERS: &str = "tests/workerd/workers";

pub(crate) struct Worker {
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
}

#[derive(Clone, Copy)]
pub(crate) enum Profile {
    Dev,
    Release,
}

impl Worker {
    pub(crate) fn example(workspace: &Workspace, name: &str) -> Result<Self> {
        let examples = examples(workspace)?;
        let names: Vec<_> = examples.iter().map(|example| example.name.clone()).collect();
        let Some(example) = examples.into_iter().find(|example| example.name == name) else {
            bail!("there is no example {name}; there are: {}", names.join(", "))
        };
        Ok(example)
    }

    pub(crate) fn for_tests(workspace: &Workspace, name: &str) -> Result<Self> {
        let directory = workspace.root.join(TEST_WORKERS).join(name);
        if !directory.exists() {
            bail!("there is no Worker at {}", directory.display());
        }
        Ok(Self { name: name.to_owned(), directory })
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
        let flag = profile.flag();
        run_quietly(cmd!(shell, "{worker_build} {flag}").envs(toolchain.worker_build_variables()))
    }
}

impl Profile {
    fn flag(self) -> &'static str {
        match self {
            Self::Dev => "--dev",
            Self::Release => "--release",
        }
    }

    fn duration(self) -> &'static str {
        match self {
            Self::Dev => "about 2 minutes the first time, then a few seconds",
            Self::Release => "about 3 minutes the first time, then half a minute",
        }
    }
}

/// In alphabetical order.
pub(crate) fn examples(workspace: &Workspace) -> Result<Vec<Worker>> {
    workers_in(&workspace.root.join(EXAMPLES), "wrangler.toml")
}

/// In alphabetical order.
pub(crate) fn test_workers(workspace: &Workspace) -> Result<Vec<Worker>> {
    workers_in(&workspace.root.join(TEST_WORKERS), "Cargo.toml")
}

/// The directories that hold `marker`.
fn workers_in(parent: &Path, marker: &str) -> Result<Vec<Worker>> {
    if !parent.exists() {
        return Ok(Vec::new());
    }
    let mut workers = Vec::new();
    for entry in fs::read_dir(parent).with_context(|| format!("cannot read {}", parent.display()))? {
        let directory = entry?.path();
        if let Some(name) = directory.file_name().filter(|_| directory.join(marker).exists()) {
            workers.push(Worker { name: name.to_string_lossy().into_owned(), directory });
        }
    }
    workers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(workers)
}
