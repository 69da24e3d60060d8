//! What must be on the machine, and how it gets there.

mod browser;
mod cargo;
mod install;
mod node;
mod npm;
mod rustup;
mod worker_toolchain;

pub(crate) use browser::{BROWSER, NONE, browser};
pub(crate) use cargo::CargoTool;
pub(crate) use install::install_missing;
pub(crate) use node::Node;
pub(crate) use rustup::{CLIPPY, RUSTFMT, WASM_TARGET};
pub(crate) use worker_toolchain::WorkerToolchain;
