//! Parts of the Rust toolchain that `rustup` adds.

use std::path::Path;

use anyhow::{Context, Result};
use xshell::cmd;

use super::Tool;
use crate::console::run_quietly;
use crate::workspace::Workspace;

pub(crate) const WASM_TARGET: RustTarget = RustTarget("wasm32-unknown-unknown");
pub(crate) const RUSTFMT: RustComponent = RustComponent { name: "rustfmt", subcommand: "fmt" };
pub(crate) const CLIPPY: RustComponent = RustComponent { name: "clippy", subcommand: "clippy" };

/// The standard library for another platform.
pub(crate) struct RustTarget(&'static str);

impl RustTarget {
    pub(crate) fn triple(&self) -> &'static str {
        self.0
    }
}

impl Tool for RustTarget {
    fn title(&self) -> String {
        format!("the Rust target {}", self.0)
    }

    fn installation_time(&self) -> &'static str {
        "a few seconds"
    }

    fn is_present(&self, workspace: &Workspace) -> Result<bool> {
        let target = self.0;
        let shell = workspace.shell()?;
        let libraries = cmd!(shell, "rustc --print target-libdir --target {target}").quiet().read()?;
        Ok(Path::new(&libraries).exists())
    }

    fn install(&self, workspace: &Workspace) -> Result<()> {
        rustup_add(workspace, "target", self.0)
    }
}

/// A program that comes with the Rust toolchain, and is left out of its minimal profile.
pub(crate) struct RustComponent {
    name: &'static str,
    subcommand: &'static str,
}

impl Tool for RustComponent {
    fn title(&self) -> String {
        self.name.to_owned()
    }

    fn installation_time(&self) -> &'static str {
        "a few seconds"
    }

    fn is_present(&self, workspace: &Workspace) -> Result<bool> {
        let subcommand = self.subcommand;
        let shell = workspace.shell()?;
        let version = cmd!(shell, "cargo {subcommand} --version").quiet().ignore_status().output()?;
        Ok(version.status.success())
    }

    fn install(&self, workspace: &Workspace) -> Result<()> {
        rustup_add(workspace, "component", self.name)
    }
}

fn rustup_add(workspace: &Workspace, kind: &str, name: &str) -> Result<()> {
    let shell = workspace.shell()?;
    run_quietly(cmd!(shell, "rustup {kind} add {name}")).with_context(|| {
        format!("`rustup {kind} add {name}` must work: get rustup, or add {name} as your distribution of Rust does")
    })
}
