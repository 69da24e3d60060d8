//! Parts of the Rust toolchain that `rustup` adds.

use std::path::Path;

use anyhow::{Context, Result};
use xshell::cmd;

use super::install::Tool;
use crate::console::run_quietly;
use crate::workspace::Workspace;

pub(crate) const WASM_TARGET: ToolchainPart =
    ToolchainPart { kind: "target", name: "wasm32-unknown-unknown" };
pub(crate) const RUSTFMT: ToolchainPart = ToolchainPart { kind: "component", name: "rustfmt" };
pub(crate) const CLIPPY: ToolchainPart = ToolchainPart { kind: "component", name: "clippy" };

/// A program that the minimal profile of the toolchain lacks, or the standard library for another platform.
pub(crate) struct ToolchainPart {
    kind: &'static str,
    pub(crate) name: &'static str,
}

impl Tool for ToolchainPart {
    fn title(&self) -> String {
        format!("the Rust {} {}", self.kind, self.name)
    }

    fn installation_time(&self) -> &'static str {
        "a few seconds"
    }

    fn is_present(&self, workspace: &Workspace) -> Result<bool> {
        let (shell, name) = (workspace.shell()?, self.name);
        if self.kind == "target" {
            let libraries = cmd!(shell, "rustc --print target-libdir --target {name}").quiet().read()?;
            return Ok(Path::new(&libraries).exists());
        }
        let program = if name == RUSTFMT.name { "cargo-fmt" } else { "cargo-clippy" };
        Ok(cmd!(shell, "{program} --version")
            .quiet()
            .ignore_status()
            .output()
            .is_ok_and(|run| run.status.success()))
    }

    fn install(&self, workspace: &Workspace) -> Result<()> {
        let (shell, Self { kind, name }) = (workspace.shell()?, self);
        run_quietly(cmd!(shell, "rustup {kind} add {name}")).with_context(|| {
            format!("`rustup {kind} add {name}` must work: get rustup, or add {name} as your distribution of Rust does")
        })
    }
}
