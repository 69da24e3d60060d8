//! The tests, the demos and `wrangler dev` with each Node.js that people have, and with newer npm packages.

use anyhow::{Result, ensure};
use xshell::cmd;

use crate::console::heading;
use crate::demo;
use crate::test;
use crate::tools::{Node, WorkerToolchain};
use crate::workspace::Workspace;

/// The last version of each line.
const NODE_20: &str = "20.20.2";
const NODE_22: &str = "22.23.3";
const NODE_24: &str = "24.21.0";

/// Where the `package.json` of the newest Miniflare and wrangler is.
const NEWEST: &str = "tests/workerd/newest";

/// What differs in it.
const RUNTIMES: [&str; 2] = ["miniflare", "wrangler"];

const COMBINATIONS: [Combination; 5] = [
    Combination { node: NODE_20, packages: Packages::Pinned, checks: Checks::All },
    Combination { node: NODE_22, packages: Packages::Pinned, checks: Checks::All },
    Combination { node: NODE_24, packages: Packages::Pinned, checks: Checks::All },
    Combination { node: NODE_22, packages: Packages::Newest, checks: Checks::Demos },
    Combination { node: NODE_24, packages: Packages::Newest, checks: Checks::All },
];

struct Combination {
    node: &'static str,
    packages: Packages,
    checks: Checks,
}

#[derive(Clone, Copy, PartialEq)]
enum Packages {
    /// Those of every other command.
    Pinned,
    Newest,
}

#[derive(Clone, Copy, PartialEq)]
enum Checks {
    /// The tests end to end, and the demos.
    All,
    /// `cargo xtask demo`, both variants of a small `cargo xtask demo gazetteer`, and the first by `wrangler dev`.
    Demos,
}

/// Runs all combinations, also after one has failed.
pub(super) fn check(workspace: &Workspace) -> Result<()> {
    let mut failed = Vec::new();
    for combination in COMBINATIONS {
        let title = combination.title();
        heading(&title);
        if let Err(error) = combination.run(workspace) {
            eprintln!("{error:#}");
            failed.push(title);
        }
    }
    // Links to the pinned packages again.
    WorkerToolchain::ensure(workspace)?;
    println!(
        "\nNode.js {NODE_20} with the newest packages NOT CHECKED: wrangler asks for Node.js 22.12 or newer"
    );
    tell_of_newer_packages(workspace)?;
    ensure!(failed.is_empty(), "failed with {}", failed.join("; "));
    Ok(())
}

impl Combination {
    fn title(&self) -> String {
        let packages = match self.packages {
            Packages::Pinned => "the pinned",
            Packages::Newest => "the newest",
        };
        format!("Node.js {} and {packages} packages", self.node)
    }

    fn run(&self, workspace: &Workspace) -> Result<()> {
        let mut workspace = Node { version: self.node }.first_in(workspace)?;
        if self.packages == Packages::Newest {
            workspace = workspace.with_npm_packages_of(NEWEST);
        }
        let toolchain = WorkerToolchain::ensure(&workspace)?;
        if self.checks == Checks::All {
            test::build_workers(&workspace, &toolchain)?;
            test::test_end_to_end(&workspace)?;
        } else {
            demo::small_gazetteers(&workspace)?;
        }
        demo::quickstart(&workspace)?;
        demo::quickstart_by_wrangler(&workspace)
    }
}

/// Versions that came out after those of `NEWEST`.
fn tell_of_newer_packages(workspace: &Workspace) -> Result<()> {
    let shell = workspace.shell_in(NEWEST)?;
    let manifest = shell.read_file("package.json")?;
    for package in RUNTIMES {
        let Ok(newest) = cmd!(shell, "npm view {package} version").quiet().ignore_stderr().read() else {
            continue;
        };
        if !manifest.contains(&format!("\"{package}\": \"{newest}\"")) {
            println!("{package} {newest} NOT CHECKED: {NEWEST}/package.json has an older version");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_packages_differ_from_the_pinned_ones_in_the_runtimes_alone() {
        let shell = Workspace::open().and_then(|workspace| workspace.shell()).unwrap();
        let [pinned, newest] = ["tests/workerd", NEWEST].map(|directory| {
            let manifest = shell.read_file(format!("{directory}/package.json")).unwrap();
            let (_, dependencies) = manifest.split_once("\"devDependencies\"").unwrap();
            let others = dependencies.lines().filter(|line| !RUNTIMES.iter().any(|name| line.contains(name)));
            others.map(str::to_owned).collect::<Vec<_>>()
        });
        assert!(pinned.iter().any(|line| line.contains("esbuild")), "{pinned:?}");
        assert_eq!(
            newest, pinned,
            "{NEWEST}/package.json does not have what the tests and worker-build need"
        );
    }
}
