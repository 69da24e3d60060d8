//! `cargo xtask size`: what mounting the routes adds to a Worker.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use xshell::{Shell, cmd};

use crate::tools::WorkerToolchain;
use crate::workers::{Profile, Worker};
use crate::workspace::Workspace;

/// A minimal axum Worker, and the same with the routes mounted.
const WITHOUT_ROUTES: &str = "size-baseline";
const WITH_ROUTES: &str = "size-mounted";
/// Two examples that are the same but for that.
const WITHOUT_COORDINATOR: &str = "quickstart";
const WITH_COORDINATOR: &str = "coordinated";

/// So many bytes the routes may add, gzipped and without the names of functions: little more than they do, so that what
/// makes them larger is noticed. Another compiler can make other code of them.
const LIMIT: u64 = 40_500;

/// In bytes.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) raw: u64,
    pub(crate) gzipped: u64,
}

impl Size {
    fn beyond(self, other: Self) -> Self {
        Self { raw: self.raw.saturating_sub(other.raw), gzipped: self.gzipped.saturating_sub(other.gzipped) }
    }
}

/// A Worker as `worker-build` leaves it.
pub(crate) struct Built {
    /// Its WebAssembly, with the names of functions, for the stack of a panic.
    pub(crate) file: PathBuf,
    named: Size,
    nameless: Size,
    /// The JavaScript around it.
    glue: Size,
}

pub(crate) struct Sizes {
    pub(crate) without: Built,
    pub(crate) with: Built,
}

/// One measure of a Worker.
pub(crate) struct Row {
    pub(crate) title: &'static str,
    pub(crate) without: Size,
    pub(crate) with: Size,
    pub(crate) added: Size,
}

impl Sizes {
    pub(crate) fn measure(workspace: &Workspace, toolchain: &WorkerToolchain) -> Result<Self> {
        Ok(Self {
            without: build(workspace, toolchain, &Worker::for_tests(workspace, WITHOUT_ROUTES)?)?,
            with: build(workspace, toolchain, &Worker::for_tests(workspace, WITH_ROUTES)?)?,
        })
    }

    /// Those of the two examples that differ in their coordinator.
    pub(crate) fn measure_coordinator(workspace: &Workspace, toolchain: &WorkerToolchain) -> Result<Self> {
        Ok(Self {
            without: build(workspace, toolchain, &Worker::example(workspace, WITHOUT_COORDINATOR)?)?,
            with: build(workspace, toolchain, &Worker::example(workspace, WITH_COORDINATOR)?)?,
        })
    }

    pub(crate) fn rows(&self) -> [Row; 3] {
        let row = |title, size: fn(&Built) -> Size| {
            let (without, with) = (size(&self.without), size(&self.with));
            Row { title, without, with, added: with.beyond(without) }
        };
        [
            row("WebAssembly without the names of functions", |built| built.nameless),
            row("WebAssembly as worker-build writes it", |built| built.named),
            row("JavaScript glue", |built| built.glue),
        ]
    }

    fn added(&self) -> u64 {
        self.with.nameless.beyond(self.without.nameless).gzipped
    }
}

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let toolchain = WorkerToolchain::ensure(workspace)?;
    for Row { title, without, with, added } in Sizes::measure(workspace, &toolchain)?.rows() {
        println!("{title:<44}{:>12}{:>12}", "bytes", "gzipped");
        for (label, size) in [("without the routes", without), ("with the routes", with), ("added", added)] {
            println!("  {label:<42}{:>12}{:>12}", size.raw, size.gzipped);
        }
    }
    Ok(())
}

/// Fails if the routes add more than they may.
pub(crate) fn check(workspace: &Workspace, toolchain: &WorkerToolchain) -> Result<()> {
    let added = Sizes::measure(workspace, toolchain)?.added();
    ensure!(
        added <= LIMIT,
        "the routes add {added} bytes to a Worker, gzipped, and may add {LIMIT}: see `cargo xtask size`, and what it \
         is made of in docs/benchmarks.md"
    );
    println!("the routes add {added} bytes to a Worker, gzipped");
    Ok(())
}

fn build(workspace: &Workspace, toolchain: &WorkerToolchain, worker: &Worker) -> Result<Built> {
    worker.build(workspace, toolchain, Profile::Release)?;
    let file = worker.directory.join("build/index_bg.wasm");
    let nameless = file.with_added_extension("nameless");
    let (shell, wasm_opt) = (workspace.shell()?, &toolchain.wasm_opt);
    cmd!(shell, "{wasm_opt} --strip-debug {file} --output {nameless}").quiet().run()?;
    let size_of = |file: &Path| size_of(&shell, file);
    Ok(Built {
        named: size_of(&file)?,
        nameless: size_of(&nameless)?,
        glue: size_of(&worker.directory.join("build/index.js"))?,
        file,
    })
}

fn size_of(shell: &Shell, file: &Path) -> Result<Size> {
    const SCRIPT: &str = "console.log(zlib.gzipSync(fs.readFileSync(process.argv[1]), { level: 9 }).length)";
    let gzipped = cmd!(shell, "node --eval {SCRIPT} {file}").quiet().read()?.parse()?;
    Ok(Size { raw: fs::metadata(file)?.len(), gzipped })
}
