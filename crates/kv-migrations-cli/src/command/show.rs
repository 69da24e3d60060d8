//! Answers as people read them.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::answer::{Entries, Finding, Status};
use crate::exit::{Exit, Failure};
use crate::pace::count;
use crate::text::table;

/// The answer as the routes give it. Anything else is an answer of something else.
pub(super) fn read<T: DeserializeOwned>(body: &Value) -> Result<T, Failure> {
    serde_json::from_value(body.clone()).map_err(|error| {
        Failure::new(Exit::Unreachable, format!("this is no answer of the migration routes: {error}"))
    })
}

/// The states of migrations, one a line.
pub(super) fn statuses(statuses: &[Status]) -> String {
    let rows = statuses.iter().map(|status| {
        vec![status.id.clone(), status.state.clone(), details(status), status.description.clone()]
    });
    table(&rows.collect::<Vec<_>>())
}

/// What the state alone does not say.
fn details(status: &Status) -> String {
    let Status { run_at, entries, failed, error, progress, retry_at, .. } = status;
    let mut parts = run_at.iter().cloned().collect::<Vec<_>>();
    if let Some(progress) = progress {
        let direction = if progress.direction == "down" { "back: " } else { "" };
        parts.push(format!("{direction}{} {}", progress.phase, count(progress)));
    }
    parts.extend(
        entries.filter(|entries| entries.seen > 0).map(|entries| format!("{} entries", entries.seen)),
    );
    if *failed > 0 {
        parts.push(format!("{failed} passed over"));
    }
    parts.extend(error.as_ref().map(|error| first_line(error).to_owned()));
    parts.extend(retry_at.as_ref().map(|at| format!("tried again at {at}")));
    parts.join(", ")
}

pub(super) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

pub(super) fn entries(entries: Entries) -> String {
    let Entries { seen, changed, moved, left } = entries;
    format!("{seen} entries seen, {changed} changed, {moved} moved, {left} left")
}

/// What a finding means.
pub(super) fn finding(finding: &Finding) -> String {
    let Finding { kind, id, other } = finding;
    let other = other.as_deref().unwrap_or("another one");
    match kind.as_str() {
        "missing" => {
            format!("{id} is applied and not registered: removed from the list, or of a later release")
        }
        "unfinished" => format!("{id} has begun, is not applied, and is not registered"),
        "out-of-order" => format!("{id} would run after one that is registered later"),
        "look-alike" => {
            format!("{id} looks like {other}, which is applied: if it was renamed, it would run twice")
        }
        "revised" => format!("{id} is applied in another revision than is registered"),
        "another-prefix" => {
            format!("nothing is applied under this prefix, and all of it under the prefix {id}")
        }
        unknown => format!("{unknown}: {id}"),
    }
}
