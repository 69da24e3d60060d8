//! All that it takes to make a Worker of a crate.

use std::path::PathBuf;

use anyhow::Result;

use super::cargo::CargoTool;
use super::npm::NpmPackages;
use super::{WASM_TARGET, ensure, host};
use crate::lockfile::locked_version;
use crate::workspace::Workspace;

/// The version that the examples' wrangler.toml name.
const WORKER_BUILD_VERSION: &str = "0.8.7";

pub(crate) struct WorkerToolchain {
    /// Where `cargo install` put worker-build.
    pub(crate) worker_build_root: PathBuf,
    pub(crate) worker_build: PathBuf,
    pub(crate) wrangler: PathBuf,
    wasm_bindgen: PathBuf,
    pub(crate) wasm_opt: PathBuf,
    esbuild: PathBuf,
}

impl WorkerToolchain {
    /// Installs what is missing of it.
    pub(crate) fn ensure(workspace: &Workspace) -> Result<Self> {
        host::require_node(workspace)?;
        let packages = NpmPackages::new(workspace)?;
        let wasm_bindgen = wasm_bindgen(workspace)?;
        let worker_build = worker_build();

        ensure(workspace, &WASM_TARGET)?;
        ensure(workspace, &packages)?;
        packages.link()?;
        ensure(workspace, &wasm_bindgen)?;
        ensure(workspace, &worker_build)?;

        Ok(Self {
            worker_build_root: worker_build.root(workspace),
            worker_build: worker_build.path(workspace),
            wrangler: packages.executable("wrangler"),
            wasm_bindgen: wasm_bindgen.path(workspace),
            wasm_opt: packages.executable("wasm-opt"),
            esbuild: packages.executable("esbuild"),
        })
    }

    /// Keeps worker-build from downloading the programs that it calls.
    pub(crate) fn worker_build_variables(&self) -> [(&'static str, &PathBuf); 3] {
        [
            ("WASM_BINDGEN_BIN", &self.wasm_bindgen),
            ("WASM_OPT_BIN", &self.wasm_opt),
            ("ESBUILD_BIN", &self.esbuild),
        ]
    }
}

/// The command line must be of exactly the version that the Worker is compiled with.
fn wasm_bindgen(workspace: &Workspace) -> Result<CargoTool> {
    Ok(CargoTool {
        package: "wasm-bindgen-cli",
        version: locked_version(workspace, "wasm-bindgen")?,
        executable: "wasm-bindgen",
        // Its Cargo.lock names a version of a crate that the registry does not have.
        locked: false,
        installation_time: "about 3 minutes",
    })
}

fn worker_build() -> CargoTool {
    CargoTool {
        package: "worker-build",
        version: WORKER_BUILD_VERSION.to_owned(),
        executable: "worker-build",
        locked: true,
        installation_time: "about 5 minutes",
    }
}
