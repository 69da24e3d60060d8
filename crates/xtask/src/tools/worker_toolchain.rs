//! All that it takes to make a Worker of a crate.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use xshell::cmd;

use super::cargo::CargoTool;
use super::install::install_missing;
use super::npm::NpmPackages;
use super::rustup::WASM_TARGET;
use crate::workspace::Workspace;

const OLDEST_NODE: u32 = 20;

/// The version that the examples' wrangler.toml name.
const WORKER_BUILD_VERSION: &str = "0.8.7";

pub(crate) struct WorkerToolchain {
    /// Where `cargo install` put worker-build.
    worker_build_root: PathBuf,
    pub(crate) worker_build: PathBuf,
    pub(crate) wrangler: PathBuf,
    wasm_bindgen: PathBuf,
    wasm_opt: PathBuf,
    esbuild: PathBuf,
}

impl WorkerToolchain {
    /// Installs what is missing of it.
    pub(crate) fn ensure(workspace: &Workspace) -> Result<Self> {
        require_node(workspace)?;
        let packages = NpmPackages::new(workspace)?;
        let wasm_bindgen = wasm_bindgen(workspace)?;
        let worker_build = worker_build();

        install_missing(workspace, &WASM_TARGET)?;
        install_missing(workspace, &packages)?;
        packages.link()?;
        install_missing(workspace, &wasm_bindgen)?;
        install_missing(workspace, &worker_build)?;

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

    /// With these, the build command in an example's wrangler.toml finds this worker-build installed, and it downloads
    /// nothing.
    pub(crate) fn build_command_variables(
        &self,
        workspace: &Workspace,
    ) -> Result<Vec<(&'static str, OsString)>> {
        let mut variables = self.worker_build_variables().map(|(name, path)| (name, path.into())).to_vec();
        variables.push(("CARGO_INSTALL_ROOT", self.worker_build_root.clone().into()));
        variables.push(("PATH", workspace.path_with(&self.worker_build_root.join("bin"))?));
        Ok(variables)
    }
}

/// It must be of exactly the version that the Workers are compiled with.
fn wasm_bindgen(workspace: &Workspace) -> Result<CargoTool> {
    let shell = workspace.shell()?;
    let id = cmd!(shell, "cargo pkgid wasm-bindgen").quiet().read()?;
    let (_, version) = id.rsplit_once('@').context("`cargo pkgid` names no version of wasm-bindgen")?;
    // Without TLS: it downloads nothing. And without `--locked`: its Cargo.lock names a version that the registry lacks.
    Ok(CargoTool::new("wasm-bindgen-cli", version, "wasm-bindgen", &["--no-default-features"], "2 minutes"))
}

fn worker_build() -> CargoTool {
    CargoTool::new("worker-build", WORKER_BUILD_VERSION, "worker-build", &["--locked"], "3 minutes")
}

fn require_node(workspace: &Workspace) -> Result<()> {
    let shell = workspace.shell()?;
    let version = cmd!(shell, "node --version").quiet().read().unwrap_or_else(|_| "is missing".to_owned());
    let major = version.strip_prefix('v').and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    ensure!(
        major.is_some_and(|major| major >= OLDEST_NODE),
        "Node.js {version}: install Node.js {OLDEST_NODE} or newer"
    );
    Ok(())
}
