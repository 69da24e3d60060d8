//! `cargo xtask size`: what mounting the routes adds to a Worker.

use std::fs;
use std::path::Path;

use anyhow::Result;
use xshell::{Shell, cmd};

use crate::tools::WorkerToolchain;
use crate::workers::{Profile, Worker};
use crate::workspace::Workspace;

/// A minimal axum Worker, and the same with the routes mounted.
const WITHOUT_ROUTES: &str = "size-baseline";
const WITH_ROUTES: &str = "size-mounted";

/// In bytes.
struct Size {
    raw: u64,
    gzipped: u64,
}

impl Size {
    fn beyond(&self, other: &Self) -> Self {
        Self { raw: self.raw.saturating_sub(other.raw), gzipped: self.gzipped.saturating_sub(other.gzipped) }
    }
}

/// The WebAssembly of a Worker.
struct Wasm {
    /// As `worker-build` writes it: with the names of functions, for the stack of a panic.
    named: Size,
    nameless: Size,
}

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let toolchain = WorkerToolchain::ensure(workspace)?;
    let without = measure(workspace, &toolchain, WITHOUT_ROUTES)?;
    let with = measure(workspace, &toolchain, WITH_ROUTES)?;

    print_table("as worker-build writes it", &without.named, &with.named);
    print_table("without the names of functions", &without.nameless, &with.nameless);
    Ok(())
}

fn measure(workspace: &Workspace, toolchain: &WorkerToolchain, name: &str) -> Result<Wasm> {
    let worker = Worker::for_tests(workspace, name)?;
    worker.build(workspace, toolchain, Profile::Release)?;
    let named = worker.directory.join("build/index_bg.wasm");
    let nameless = named.with_added_extension("nameless");
    let (shell, wasm_opt) = (workspace.shell()?, &toolchain.wasm_opt);
    cmd!(shell, "{wasm_opt} --strip-debug {named} --output {nameless}").quiet().run()?;
    Ok(Wasm { named: size_of(&shell, &named)?, nameless: size_of(&shell, &nameless)? })
}

fn size_of(shell: &Shell, file: &Path) -> Result<Size> {
    const SCRIPT: &str = "console.log(zlib.gzipSync(fs.readFileSync(process.argv[1]), { level: 9 }).length)";
    let gzipped = cmd!(shell, "node --eval {SCRIPT} {file}").quiet().read()?.parse()?;
    Ok(Size { raw: fs::metadata(file)?.len(), gzipped })
}

fn print_table(title: &str, without: &Size, with: &Size) {
    println!("{title:<32}{:>12}{:>12}", "bytes", "gzipped");
    print_row("  without the routes", without);
    print_row("  with the routes", with);
    print_row("  added", &with.beyond(without));
}

fn print_row(label: &str, size: &Size) {
    println!("{label:<32}{:>12}{:>12}", size.raw, size.gzipped);
}
