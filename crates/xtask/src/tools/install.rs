//! Installing a tool once, into the cache.

use std::fs::{self, File};

use anyhow::{Context, Result};

use crate::console;
use crate::workspace::Workspace;

/// Something of a fixed version that can be installed.
pub(crate) trait Tool {
    /// Its name and version.
    fn title(&self) -> String;

    /// How long installing it takes, in words.
    fn installation_time(&self) -> &'static str;

    /// Whether it is there as a whole: an interrupted installation does not count.
    fn is_present(&self, workspace: &Workspace) -> Result<bool>;

    fn install(&self, workspace: &Workspace) -> Result<()>;
}

/// Installs a tool unless it is there.
pub(crate) fn install_missing(workspace: &Workspace, tool: &impl Tool) -> Result<()> {
    if tool.is_present(workspace)? {
        return Ok(());
    }
    let _lock = lock_cache(workspace)?;
    // Another command that held the lock may have installed it meanwhile.
    if tool.is_present(workspace)? {
        return Ok(());
    }
    console::progress(&format!("installing {} ({}, once)", tool.title(), tool.installation_time()));
    tool.install(workspace).with_context(|| format!("cannot install {}", tool.title()))
}

/// Lets one command at a time install tools. The lock is free again when the file is dropped.
fn lock_cache(workspace: &Workspace) -> Result<File> {
    let cache = &workspace.cache;
    fs::create_dir_all(cache).with_context(|| {
        format!(
            "cannot create {} to keep tools in: set KV_MIGRATIONS_CACHE to another directory",
            cache.display()
        )
    })?;
    let lock = File::create(cache.join(".lock"))?;
    lock.lock()?;
    Ok(lock)
}
