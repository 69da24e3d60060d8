//! The checkout, and the directory outside of it where tools are kept.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// It outlives a checkout, so that the same tools are not built twice.
    pub(crate) cache: PathBuf,
}

impl Workspace {
    pub(crate) fn open() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .context("xtask is not at crates/xtask of the workspace")?;
        Ok(Self { root: root.to_path_buf(), cache: cache_directory()? })
    }

    /// A shell at the root of the workspace.
    pub(crate) fn shell(&self) -> Result<Shell> {
        self.shell_in(&self.root)
    }

    pub(crate) fn shell_in(&self, directory: impl AsRef<Path>) -> Result<Shell> {
        let shell = Shell::new()?;
        shell.change_dir(self.root.join(directory));
        Ok(shell)
    }

    /// Runs a script of `tests/workerd`, whose packages must be there.
    pub(crate) fn node(&self, script: &str, arguments: &[&str]) -> Result<()> {
        let shell = self.shell_in(self.end_to_end_tests())?;
        cmd!(shell, "node {script} {arguments...}").quiet().run()?;
        Ok(())
    }

    pub(crate) fn end_to_end_tests(&self) -> PathBuf {
        self.root.join("tests/workerd")
    }
}

fn cache_directory() -> Result<PathBuf> {
    if let Some(chosen) = non_empty_variable("KV_MIGRATIONS_CACHE") {
        return Ok(chosen);
    }
    non_empty_variable("XDG_CACHE_HOME")
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .map(|caches| caches.join("kv-migrations"))
        .context("there is no home directory to keep tools in: set KV_MIGRATIONS_CACHE to a directory")
}

fn non_empty_variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
