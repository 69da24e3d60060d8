//! Programs that a developer brings along: they are looked for, never installed.

use anyhow::{Context, Result, bail};
use xshell::cmd;

use crate::workspace::Workspace;

const OLDEST_NODE: u32 = 20;

pub(super) fn require_node(workspace: &Workspace) -> Result<()> {
    let shell = workspace.shell()?;
    let version = cmd!(shell, "node --version")
        .quiet()
        .read()
        .with_context(|| format!("Node.js is missing: install Node.js {OLDEST_NODE} or newer"))?;
    match major_version(&version) {
        Some(major) if major >= OLDEST_NODE => Ok(()),
        _ => bail!("Node.js {version} is too old: install Node.js {OLDEST_NODE} or newer"),
    }
}

pub(crate) fn require_curl(workspace: &Workspace) -> Result<()> {
    let shell = workspace.shell()?;
    cmd!(shell, "curl --version")
        .quiet()
        .read()
        .context("curl is missing: install it with your system's packages")?;
    Ok(())
}

/// The 20 of `v20.20.2`.
fn major_version(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::major_version;

    #[test]
    fn reads_the_major_version_of_node() {
        assert_eq!(major_version("v20.20.2"), Some(20));
        assert_eq!(major_version("nightly"), None);
    }
}
