//! Programs that `cargo install` builds, each in a directory of its own in the cache.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use xshell::{Cmd, Shell, cmd};

use super::install::{Tool, install_missing};
use crate::console::run_quietly;
use crate::workspace::Workspace;

pub(crate) struct CargoTool {
    package: &'static str,
    version: String,
    executable: &'static str,
    options: &'static [&'static str],
    installation_time: &'static str,
}

impl CargoTool {
    /// A package, with the one executable that is built of it, and other options for `cargo install`.
    pub(super) fn new(
        package: &'static str,
        version: impl Into<String>,
        executable: &'static str,
        options: &'static [&'static str],
        installation_time: &'static str,
    ) -> Self {
        Self { package, version: version.into(), executable, options, installation_time }
    }

    pub(crate) fn hack() -> Self {
        Self::new("cargo-hack", "0.6.46", "cargo-hack", &["--locked"], "half a minute")
    }

    pub(crate) fn deny() -> Self {
        Self::new("cargo-deny", "0.20.2", "cargo-deny", &["--locked"], "1 to 2 minutes")
    }

    pub(crate) fn public_api() -> Self {
        Self::new("cargo-public-api", "0.52.0", "cargo-public-api", &["--locked"], "1 to 2 minutes")
    }

    pub(crate) fn mdbook() -> Self {
        let options = &["--locked", "--no-default-features", "--features", "search"];
        Self::new("mdbook", "0.5.4", "mdbook", options, "2 minutes")
    }

    pub(crate) fn mdbook_mermaid() -> Self {
        Self::new("mdbook-mermaid", "0.17.1", "mdbook-mermaid", &["--locked"], "1 minute")
    }

    /// The directory of its executable.
    pub(crate) fn directory(&self, workspace: &Workspace) -> PathBuf {
        self.root(workspace).join("bin")
    }

    /// A command that runs it at the root of the workspace. Installs it if it is missing.
    pub(crate) fn command<'a>(&self, workspace: &Workspace, shell: &'a Shell) -> Result<Cmd<'a>> {
        install_missing(workspace, self)?;
        let path = self.path(workspace);
        Ok(cmd!(shell, "{path}").quiet())
    }

    /// The directory that `cargo install --root` was given, in the end.
    pub(super) fn root(&self, workspace: &Workspace) -> PathBuf {
        workspace.cache.join(format!("{}-{}", self.package, self.version))
    }

    pub(super) fn path(&self, workspace: &Workspace) -> PathBuf {
        self.directory(workspace).join(self.executable)
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
        let &Self { package, ref version, executable, options, .. } = self;

        let shell = workspace.shell()?;
        // Of the profile `release`, since `cargo install` calls a tool of another one out of date, but quick to build.
        let install =
            cmd!(shell, "cargo install {package} --version ={version} --bin {executable} {options...}")
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
