//! The checkout, and the directory outside of it where tools are kept.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

const END_TO_END_TESTS: &str = "tests/workerd";

pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// It outlives a checkout, so that the same tools are not built twice.
    pub(crate) cache: PathBuf,
    /// The directory of the `package.json` whose npm packages are used.
    pub(crate) npm_manifest: PathBuf,
    /// Where programs are looked for.
    path: OsString,
}

impl Workspace {
    pub(crate) fn open() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .context("xtask is not at crates/xtask of the workspace")?;
        Ok(Self {
            root: root.to_path_buf(),
            cache: cache_directory()?,
            npm_manifest: root.join(END_TO_END_TESTS),
            path: env::var_os("PATH").unwrap_or_default(),
        })
    }

    /// The same checkout, in which the programs of a directory are found before others.
    pub(crate) fn with_programs_of(&self, directory: &Path) -> Result<Self> {
        let path = self.path_with(directory)?;
        let Self { root, cache, npm_manifest, .. } = self;
        Ok(Self { root: root.clone(), cache: cache.clone(), npm_manifest: npm_manifest.clone(), path })
    }

    /// Where programs are looked for when those of a directory come first.
    pub(crate) fn path_with(&self, directory: &Path) -> Result<OsString> {
        let directories = [directory.to_path_buf()].into_iter().chain(env::split_paths(&self.path));
        Ok(env::join_paths(directories)?)
    }

    /// The same checkout with the npm packages of another `package.json`, in a directory of this one.
    pub(crate) fn with_npm_packages_of(self, directory: impl AsRef<Path>) -> Self {
        Self { npm_manifest: self.root.join(directory), ..self }
    }

    /// A shell at the root of the workspace.
    pub(crate) fn shell(&self) -> Result<Shell> {
        self.shell_in(&self.root)
    }

    pub(crate) fn shell_in(&self, directory: impl AsRef<Path>) -> Result<Shell> {
        let shell = Shell::new()?;
        shell.change_dir(self.root.join(directory));
        shell.set_var("PATH", &self.path);
        Ok(shell)
    }

    /// Runs a script of `tests/workerd`, whose packages must be there.
    pub(crate) fn node(&self, script: &str, arguments: &[&str]) -> Result<()> {
        let shell = self.shell_in(self.end_to_end_tests())?;
        cmd!(shell, "node {script} {arguments...}").quiet().run()?;
        Ok(())
    }

    pub(crate) fn end_to_end_tests(&self) -> PathBuf {
        self.root.join(END_TO_END_TESTS)
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
