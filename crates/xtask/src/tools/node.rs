//! Other versions of Node.js than the one of the machine.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use xshell::cmd;

use super::install::{Tool, install_missing};
use crate::console::run_quietly;
use crate::workspace::Workspace;

/// The npm package `node`, in a directory of its own in the cache.
pub(crate) struct Node {
    pub(crate) version: &'static str,
}

impl Node {
    /// The same checkout, in which `node` is this one. Installs it if it is missing.
    pub(crate) fn first_in(&self, workspace: &Workspace) -> Result<Workspace> {
        install_missing(workspace, self)?;
        workspace.with_programs_of(&self.root(workspace).join("node_modules/node/bin"))
    }

    fn root(&self, workspace: &Workspace) -> PathBuf {
        workspace.cache.join(format!("node-{}", self.version))
    }
}

impl Tool for Node {
    fn title(&self) -> String {
        format!("Node.js {}", self.version)
    }

    fn installation_time(&self) -> &'static str {
        "half a minute"
    }

    fn is_present(&self, workspace: &Workspace) -> Result<bool> {
        Ok(self.root(workspace).exists())
    }

    /// Installs beside the final place, so that what is in the final place is whole.
    fn install(&self, workspace: &Workspace) -> Result<()> {
        let (root, version) = (self.root(workspace), self.version);
        let staging = root.with_added_extension("partial");
        let shell = workspace.shell()?;
        shell.remove_path(&staging)?;
        shell.create_dir(&staging)?;
        run_quietly(cmd!(shell, "npm install --ignore-scripts --no-save --prefix {staging} node@{version}"))?;
        // Its script, which gets the program for this platform. Newer versions of npm do not run it.
        shell.change_dir(staging.join("node_modules/node"));
        run_quietly(cmd!(shell, "node installArchSpecificPackage"))?;
        fs::rename(staging, root)?;
        Ok(())
    }
}
