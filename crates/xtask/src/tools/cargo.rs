//! Programs that `cargo install` builds, each in a directory of its own in the cache.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use xshell::cmd;

use super::Tool;
use crate::console::run_quietly;
use crate::workspace::Workspace;

pub(super) struct CargoTool {
    pub(super) package: &'static str,
    pub(super) version: String,
    pub(super) executable: &'static str,
    /// Whether to build with the versions in the package's own Cargo.lock.
    pub(super) locked: bool,
    pub(super) installation_time: &'static str,
}

impl CargoTool {
    /// The directory that `cargo install --root` was given, in the end.
    pub(super) fn root(&self, workspace: &Workspace) -> PathBuf {
        workspace.cache.join(format!("{}-{}", self.package, self.version))
    }

    pub(super) fn path(&self, workspace: &Workspace) -> PathBuf {
        self.root(workspace).join("bin").join(self.executable)
    }
}

impl Tool for CargoTool {
    fn title(&self) -> String {
        format!("{} {}", self.package, self.version)
    }

    fn installation_time(&self) -> &'static str {
        self.installation_time
    }

    fn is_present(&self, workspace: &Workspace) -> Result<bool> {
        Ok(self.path(workspace).exists())
    }

    /// Builds beside the final place, so that what is in the final place is whole.
    fn install(&self, workspace: &Workspace) -> Result<()> {
        let root = self.root(workspace);
        let staging = root.with_added_extension("partial");
        let target = staging.join("target");
        let Self { package, version, .. } = self;
        let locked = self.locked.then_some("--locked");

        let shell = workspace.shell()?;
        // Of the profile `release`, since `cargo install` calls a tool of another one out of date, but quick to build.
        let install = cmd!(shell, "cargo install {package} --version ={version} {locked...}")
            .args(["--root".as_ref(), staging.as_os_str(), "--target-dir".as_ref(), target.as_os_str()])
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "256");
        run_quietly(install)?;

        fs::remove_dir_all(target)?;
        shell.remove_path(&root)?;
        fs::rename(staging, root)?;
        Ok(())
    }
}
