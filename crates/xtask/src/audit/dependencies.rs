//! Licenses, duplicates, sources and known defects of the dependencies: see `deny.toml`.

use anyhow::Result;

use crate::tools::CargoTool;
use crate::workspace::Workspace;

pub(super) fn check(workspace: &Workspace) -> Result<()> {
    let (shell, deny) = (workspace.shell()?, CargoTool::deny());
    let deny = || deny.command(workspace, &shell);
    deny()?.args(["--workspace", "check", "licenses", "bans", "sources"]).run()?;
    if deny()?.args(["fetch", "db"]).ignore_status().output()?.status.success() {
        deny()?.args(["--offline", "--workspace", "check", "advisories"]).run()?;
    } else {
        println!("advisories NOT CHECKED: the database at github.com/RustSec/advisory-db is out of reach");
    }
    Ok(())
}
