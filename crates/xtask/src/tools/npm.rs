//! The npm packages of the tests in workerd: the local runtimes, and two programs that `worker-build` calls.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xshell::cmd;

use super::install::Tool;
use crate::console::run_quietly;
use crate::workspace::Workspace;

const MANIFESTS: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];

/// They live in the cache, in a directory for each state of the lock file; `tests/workerd/node_modules` links to it.
pub(super) struct NpmPackages {
    installation: PathBuf,
    /// Where Node.js looks for the packages that the tests import.
    link: PathBuf,
}

impl NpmPackages {
    pub(super) fn new(workspace: &Workspace) -> Result<Self> {
        let lockfile = workspace.npm_manifest.join("package-lock.json");
        let contents = fs::read(&lockfile).with_context(|| format!("cannot read {}", lockfile.display()))?;
        let installation = workspace.cache.join(format!("npm-{:016x}", hash(&contents)));
        Ok(Self { installation, link: workspace.end_to_end_tests().join("node_modules") })
    }

    pub(super) fn executable(&self, name: &str) -> PathBuf {
        self.node_modules().join(".bin").join(name)
    }

    fn node_modules(&self) -> PathBuf {
        self.installation.join("node_modules")
    }

    /// Points `tests/workerd/node_modules` at the installation.
    pub(super) fn link(&self) -> Result<()> {
        let node_modules = self.node_modules();
        if fs::read_link(&self.link).is_ok_and(|target| target == node_modules) {
            return Ok(());
        }
        if self.link.is_symlink() {
            fs::remove_file(&self.link)?;
        }
        symlink(&node_modules, &self.link)
            .with_context(|| format!("cannot make {} a link: remove what is there", self.link.display()))
    }
}

impl Tool for NpmPackages {
    fn title(&self) -> String {
        "the npm packages of the tests in workerd".to_owned()
    }

    fn installation_time(&self) -> &'static str {
        "about 15 seconds"
    }

    fn is_present(&self, _workspace: &Workspace) -> Result<bool> {
        Ok(self.installation.exists())
    }

    /// Installs beside the final place, so that what is in the final place is whole.
    fn install(&self, workspace: &Workspace) -> Result<()> {
        let staging = self.installation.with_added_extension("partial");
        let shell = workspace.shell_in(&staging)?;
        shell.create_dir(&staging)?;
        for manifest in MANIFESTS {
            shell.copy_file(workspace.npm_manifest.join(manifest), &staging)?;
        }
        // Their scripts only make what works faster; newer versions of npm do not run them either.
        run_quietly(cmd!(shell, "npm ci --ignore-scripts"))?;
        fs::rename(staging, &self.installation)?;
        Ok(())
    }
}

fn hash(contents: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    contents.hash(&mut hasher);
    hasher.finish()
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_dir(target, link)
}
