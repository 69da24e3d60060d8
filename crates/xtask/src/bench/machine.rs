//! On what it was measured.

use std::fs;
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use serde_json::Value;
use xshell::cmd;

use crate::lockfile::locked_version;
use crate::workspace::Workspace;

const PACKAGES: [&str; 3] = ["miniflare", "workerd", "binaryen"];

/// A sentence about the machine, and one about the versions.
pub(super) fn describe(workspace: &Workspace) -> Result<String> {
    let shell = workspace.shell()?;
    let cores = available_parallelism()?;
    let machine = format!("{cores} cores{}{}, {}", processor(), memory(), std::env::consts::OS);
    let rustc = cmd!(shell, "rustc --version").quiet().read()?;
    let node = cmd!(shell, "node --version").quiet().read()?;
    let mut versions = vec![rustc, format!("Node.js {node}")];
    for package in PACKAGES {
        versions.push(format!("{package} {}", npm_version(workspace, package)?));
    }
    for package in ["worker", "axum"] {
        versions.push(format!("{package} {}", locked_version(workspace, package)?));
    }
    Ok(format!("Measured on {machine}; with {}.", versions.join(", ")))
}

/// As Linux calls it; elsewhere nothing is said.
fn processor() -> String {
    field("/proc/cpuinfo", "model name").map_or_else(String::new, |name| format!(" ({name})"))
}

fn memory() -> String {
    let kilobytes = field("/proc/meminfo", "MemTotal")
        .and_then(|total| total.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()));
    kilobytes.map_or_else(String::new, |number| format!(", {} GiB of memory", number >> 20))
}

fn field(file: &str, name: &str) -> Option<String> {
    let contents = fs::read_to_string(file).ok()?;
    let (_, value) =
        contents.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name)?;
    Some(value.trim().to_owned())
}

fn npm_version(workspace: &Workspace, package: &str) -> Result<String> {
    let file = workspace.end_to_end_tests().join("package-lock.json");
    let lockfile: Value = serde_json::from_slice(&fs::read(file)?)?;
    let version =
        lockfile.pointer(&format!("/packages/node_modules~1{package}/version")).and_then(Value::as_str);
    version.map(str::to_owned).with_context(|| format!("{package} is not in package-lock.json"))
}
