//! The versions that Cargo.lock pins.

use std::fs;

use anyhow::{Context, Result};

use crate::workspace::Workspace;

/// The version of `package` that the workspace is built with.
pub(crate) fn locked_version(workspace: &Workspace, package: &str) -> Result<String> {
    let path = workspace.root.join("Cargo.lock");
    let lockfile = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let version =
        find_version(&lockfile, package).with_context(|| format!("{package} is not in Cargo.lock"))?;
    Ok(version.to_owned())
}

fn find_version<'lock>(lockfile: &'lock str, package: &str) -> Option<&'lock str> {
    let name = format!("name = \"{package}\"");
    lockfile.lines().skip_while(|line| *line != name).nth(1)?.strip_prefix("version = \"")?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::find_version;

    const LOCKFILE: &str = r#"
version = 4

[[package]]
name = "wasm-bindgen-macro"
version = "0.2.1"

[[package]]
name = "wasm-bindgen"
version = "0.2.130"
dependencies = ["wasm-bindgen-macro"]
"#;

    #[test]
    fn finds_the_package_of_exactly_that_name() {
        assert_eq!(find_version(LOCKFILE, "wasm-bindgen"), Some("0.2.130"));
        assert_eq!(find_version(LOCKFILE, "wasm"), None);
    }
}
