//! What the rows say that an object writes.

use std::collections::BTreeSet;

use kv_migrations::coordinator::{Change, Storage};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The names of rows, or their prefixes.
const TASK: &str = "task";
const LEASE: &str = "lease";
const RAN: &str = "ran/";
const MARKER: &str = "marker/";
const UNMIRRORED: &str = "unmirrored/";

/// What one write says.
#[derive(Debug, Default)]
pub struct WrittenRows {
    /// The migration whose `up` begins or continues.
    pub begun: Option<String>,
    /// The markers that are written.
    pub markers: Vec<MarkerRow>,
}

/// A marker that is written.
#[derive(Debug)]
pub struct MarkerRow {
    /// Its key in KV.
    pub key: String,
    /// Whether its migration is applied now.
    pub is_applied: bool,
    /// The number of the run that wrote it; none if it was taken over from KV, or if a rollback wrote it.
    pub run: Option<u64>,
}

#[derive(Deserialize)]
struct Task {
    migration: Option<String>,
    /// Counted for one migration, like the next.
    #[serde(rename = "attempts")]
    _attempts: u64,
    #[serde(rename = "failed_at")]
    _failed_at: u64,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl Task {
    fn number(&self) -> Option<u64> {
        self.others.get("number")?.as_u64()
    }
}

impl WrittenRows {
    /// Reads it from the changes, which are to be made to what is stored.
    pub fn read(changes: &[Change], storage: &dyn Storage) -> Self {
        let before = storage.get(TASK).ok().flatten().and_then(|row| run(&row));
        let puts = || {
            changes.iter().filter_map(|change| match change {
                Change::Put { name, bytes } => Some((name.as_str(), bytes.as_slice())),
                Change::Delete { .. } | Change::Alarm(_) => None,
            })
        };
        let put = |row: &str| puts().find(|(name, _)| *name == row).map(|(_, bytes)| bytes);
        // At the end of a step the lease is given back; a request has none; what is applied is a row beside it; and
        // whatever else is noted, that a step is taken for example, is a field beside the migration.
        let is_in_step = put(LEASE).is_some_and(|bytes| says(bytes, "is_held"));
        let is_applied = puts().any(|(name, _)| name.starts_with(RAN));
        let after = put(TASK).filter(|_| is_in_step && !is_applied).and_then(run);
        let is_same = |task: &Task| before.as_ref().is_some_and(|before| before.others == task.others);
        let begun = after.filter(is_same).and_then(|task| task.migration);
        let own: BTreeSet<&str> = puts().filter_map(|(name, _)| name.strip_prefix(UNMIRRORED)).collect();
        let markers = puts().filter_map(|(name, bytes)| {
            let key = name.strip_prefix(MARKER)?;
            let run = before.as_ref().filter(|_| own.contains(key)).and_then(Task::number);
            Some(MarkerRow { key: key.to_owned(), is_applied: says(bytes, "is_applied"), run })
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
    serde_json::from_slice(row)
        .ok()
        .filter(|task: &Task| task.others.get("action").is_some_and(|action| action == "migrate"))
}
