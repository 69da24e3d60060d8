//! What the rows tell that an object writes, so that its migrations need not be asked.

use std::collections::BTreeSet;

use kv_migrations::coordinator::{Change, MemoryStorage, Storage};
use serde::Deserialize;
use serde_json::Value;

/// The names, or their beginnings, of the rows that tell something.
const TASK: &str = "task";
const LEASE: &str = "lease";
const RAN: &str = "ran/";
const MARKER: &str = "marker/";
const UNMIRRORED: &str = "unmirrored/";

/// What one write tells.
#[derive(Debug, Default)]
pub struct Noted {
    /// The migration whose `up` begins, or is carried on.
    pub begun: Option<String>,
    /// The markers that are written.
    pub markers: Vec<Marker>,
}

/// A marker that is written.
#[derive(Debug)]
pub struct Marker {
    /// Its key in KV.
    pub key: String,
    /// Whether it says now that its migration is applied.
    pub is_applied: bool,
    /// The number of the run that wrote it; none if it was taken over from KV, or if a rollback wrote it.
    pub run: Option<u64>,
}

#[derive(Deserialize)]
struct Task {
    number: u64,
    action: Value,
    migration: Option<String>,
}

impl Noted {
    /// Reads it from the changes, which have been made.
    pub fn read(changes: &[Change], storage: &MemoryStorage) -> Self {
        let puts = || {
            changes.iter().filter_map(|change| match change {
                Change::Put { name, bytes } => Some((name.as_str(), bytes.as_slice())),
                Change::Delete { .. } | Change::Alarm(_) => None,
            })
        };
        let put = |row: &str| puts().find(|(name, _)| *name == row).map(|(_, bytes)| bytes);
        // At the end of a step the lease is given back; a request has none; and what is applied is a row beside it.
        let is_in_step = put(LEASE).is_some_and(|bytes| says(bytes, "is_held"));
        let is_applied = puts().any(|(name, _)| name.starts_with(RAN));
        let begun =
            put(TASK).filter(|_| is_in_step && !is_applied).and_then(run).and_then(|run| run.migration);
        let own: BTreeSet<&str> = puts().filter_map(|(name, _)| name.strip_prefix(UNMIRRORED)).collect();
        let by = (!own.is_empty()).then(|| storage.get(TASK).ok().flatten()).flatten();
        let by = by.as_deref().and_then(run).map(|run| run.number);
        let markers = puts().filter_map(|(name, bytes)| {
            let key = name.strip_prefix(MARKER)?;
            let run = by.filter(|_| own.contains(key));
            Some(Marker { key: key.to_owned(), is_applied: says(bytes, "is_applied"), run })
        });
        Self { begun, markers: markers.collect() }
    }
}

/// Whether the field of a row is true.
fn says(row: &[u8], field: &str) -> bool {
    let row: Option<Value> = serde_json::from_slice(row).ok();
    row.is_some_and(|row| row.get(field) == Some(&Value::Bool(true)))
}

/// The task, if it is a run and no rollback.
fn run(row: &[u8]) -> Option<Task> {
    serde_json::from_slice(row).ok().filter(|task: &Task| task.action == "migrate")
}
