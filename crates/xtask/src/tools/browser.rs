//! A browser for the tests of the page: Debian's Chromium, or another.

use std::env;
use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result};
use xshell::cmd;

use super::install::{Tool, install_missing};
use crate::console::run_quietly;
use crate::workspace::Workspace;

/// The program of another browser, or [`NONE`]. The tests read it, too.
pub(crate) const BROWSER: &str = "KV_MIGRATIONS_BROWSER";
/// What it is to skip the tests in a browser.
pub(crate) const NONE: &str = "none";

const CHROMIUM: &str = "/usr/bin/chromium";

/// The program to test with. Installs Chromium if no other is named.
pub(crate) fn browser(workspace: &Workspace) -> Result<OsString> {
    if let Some(chosen) = env::var_os(BROWSER).filter(|value| !value.is_empty()) {
        return Ok(chosen);
    }
    install_missing(workspace, &Chromium).with_context(|| {
        format!(
            "the tests of the page need a browser. Install Chromium or Chrome and name its program in {BROWSER}, or skip \
             these tests with {BROWSER}={NONE}"
        )
    })?;
    Ok(CHROMIUM.into())
}

/// The package of Debian and its descendants. It is the one tool that is not in the cache: the system has it.
struct Chromium;

impl Tool for Chromium {
    fn title(&self) -> String {
        "Chromium, by apt-get".to_owned()
    }

    fn installation_time(&self) -> &'static str {
        "about half a minute"
    }

    fn is_present(&self, _workspace: &Workspace) -> Result<bool> {
        Ok(Path::new(CHROMIUM).exists())
    }

    fn install(&self, workspace: &Workspace) -> Result<()> {
        let shell = workspace.shell()?;
        let is_root = cmd!(shell, "id -u").quiet().read()? == "0";
        // Without asking for a password.
        let sudo: &[&str] = if is_root { &[] } else { &["sudo", "--non-interactive"] };
        let apt_get =
            ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--option=DPkg::Lock::Timeout=120"];
        let command = [sudo, &apt_get[..]].concat();
        let (program, options) = command.split_first().context("there is a command")?;
        // A container has no lists of packages. Another package needs no recommendation of this one.
        run_quietly(cmd!(shell, "{program} {options...} update"))?;
        let packages = ["chromium", "fonts-liberation"];
        run_quietly(cmd!(shell, "{program} {options...} install --yes --no-install-recommends {packages...}"))
    }
}
