//! Panics in a build by `worker-build --panic-unwind`, in which they fail a request and not the whole instance.

use anyhow::Result;
use xshell::cmd;

use crate::tools::{WASM_TARGET, WorkerToolchain};
use crate::workers::{Profile, Worker};
use crate::workspace::Workspace;

/// It compiles the standard library, which takes a nightly toolchain with its source.
pub(super) fn check(workspace: &Workspace) -> Result<()> {
    let shell = workspace.shell()?;
    let sysroot = cmd!(shell, "rustc +nightly --print sysroot").quiet().ignore_stderr().read();
    if !sysroot.is_ok_and(|sysroot| shell.path_exists(format!("{sysroot}/lib/rustlib/src/rust/library"))) {
        println!(
            "NOT CHECKED: it takes `rustup toolchain install nightly --component rust-src --target {}`",
            WASM_TARGET.name
        );
        return Ok(());
    }
    let toolchain = WorkerToolchain::ensure(workspace)?;
    let specimen = Worker::find(workspace, "specimen")?;
    let result = specimen.build(workspace, &toolchain, Profile::PanicUnwind).and_then(|()| test(workspace));
    // The other tests are for a build as usual.
    specimen.build(workspace, &toolchain, Profile::Dev)?;
    result
}

fn test(workspace: &Workspace) -> Result<()> {
    let shell = workspace.shell_in(workspace.end_to_end_tests())?;
    cmd!(shell, "node --test --test-reporter=spec --test-name-pattern=panic")
        .args(["failures.test.mjs", "long.test.mjs", "events.test.mjs"])
        .quiet()
        .run()?;
    Ok(())
}
