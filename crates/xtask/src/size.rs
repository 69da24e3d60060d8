//! `cargo xtask size`: what mounting the routes adds to a Worker.

use std::fs;
use std::path::Path;

use anyhow::Result;
use xshell::cmd;

use crate::tools::WorkerToolchain;
use crate::workers::{Profile, Worker};
use crate::workspace::Workspace;

/// A minimal axum Worker, and the same with the routes mounted.
const WITHOUT_ROUTES: &str = "size-baseline";
const WITH_ROUTES: &str = "size-mounted";

/// In bytes, of the WebAssembly that is deployed.
struct Size {
    raw: u64,
    gzipped: u64,
}

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let toolchain = WorkerToolchain::ensure(workspace)?;
    let without = measure(workspace, &toolchain, WITHOUT_ROUTES)?;
    let with = measure(workspace, &toolchain, WITH_ROUTES)?;
    let added = Size {
        raw: with.raw.saturating_sub(without.raw),
        gzipped: with.gzipped.saturating_sub(without.gzipped),
    };

    println!("{:<20}{:>12}{:>12}", "", "bytes", "gzipped");
    print_row("without the routes", &without);
    print_row("with the routes", &with);
    print_row("added", &added);
    Ok(())
}

fn measure(workspace: &Workspace, toolchain: &WorkerToolchain, name: &str) -> Result<Size> {
    let worker = Worker::for_tests(workspace, name)?;
    worker.build(workspace, toolchain, Profile::Release)?;
    let wasm = worker.directory.join("build/index_bg.wasm");
    Ok(Size { raw: fs::metadata(&wasm)?.len(), gzipped: gzipped_size(workspace, &wasm)? })
}

fn gzipped_size(workspace: &Workspace, file: &Path) -> Result<u64> {
    const SCRIPT: &str = "console.log(zlib.gzipSync(fs.readFileSync(process.argv[1]), { level: 9 }).length)";
    let shell = workspace.shell()?;
    Ok(cmd!(shell, "node --eval {SCRIPT} {file}").quiet().read()?.parse()?)
}

fn print_row(label: &str, size: &Size) {
    println!("{label:<20}{:>12}{:>12}", size.raw, size.gzipped);
}
