//! `kv-migrations dry-run`.

use std::fmt::Write as _;

use serde::Deserialize;

use crate::answer::Entries;
use crate::command::show;
use crate::driver::Driver;
use crate::exit::{Exit, Failure};
use crate::http::Request;
use crate::release::ReleaseArgs;

/// Show what a run would change, by running it without writing (where the service allows it)
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only up to this migration
    #[arg(long, value_name = "ID", conflicts_with_all = ["steps", "only"])]
    to: Option<String>,
    /// Only the next N migrations
    #[arg(long, value_name = "N", conflicts_with = "only")]
    steps: Option<u32>,
    /// This migration alone, as if those before it had changed nothing
    #[arg(long, value_name = "ID")]
    only: Option<String>,
    /// A sample: at most N keys of each prefix
    #[arg(long, value_name = "N")]
    entries: Option<u32>,
    /// How many changes of each migration are listed
    #[arg(long, value_name = "N")]
    show: Option<u32>,
    /// List the values too: they may be personal data
    #[arg(long)]
    values: bool,
    #[command(flatten)]
    pub(crate) release: ReleaseArgs,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    complete: bool,
    stopped: Option<String>,
    migrations: Vec<Migration>,
    #[serde(default)]
    remaining: Vec<String>,
    #[serde(default)]
    requests: u64,
    #[serde(default)]
    operations: u64,
    #[serde(default)]
    usd: String,
    #[serde(default)]
    warnings: Vec<String>,
    in_progress: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Migration {
    id: String,
    kind: String,
    complete: bool,
    error: Option<String>,
    entries: Option<Entries>,
    writes: u64,
    deletes: u64,
    bytes: u64,
    changes: Vec<Change>,
    more_changes: u64,
    findings: Vec<Finding>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Change {
    key: String,
    operation: String,
    before: Option<Entry>,
    after: Option<Entry>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    bytes: u64,
    value: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Finding {
    #[serde(rename = "finding")]
    kind: String,
    count: u64,
    keys: Vec<String>,
    reason: Option<String>,
}

pub(crate) fn run(args: &Args, driver: &mut Driver<'_>) -> Result<Exit, Failure> {
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    let request = Request::post("/migrations/dry-run")
        .with_some("to", args.to.as_deref())
        .with_some("steps", number(args.steps).as_deref())
        .with_some("only", args.only.as_deref())
        .with_some("entries", number(args.entries).as_deref())
        .with_some("show", number(args.show).as_deref())
        .with_some("values", args.values.then_some("true"));
    let body = args.release.ask(request, driver).map_err(not_allowed)?;
    let report: Report = show::read(&body)?;
    driver.output.result(&text(&report), &body);
    let failed = report.stopped.as_deref() == Some("failed");
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

/// Only a service that allows it has this route.
fn not_allowed(failure: Failure) -> Failure {
    match failure.exit {
        Exit::Unreachable => {
            failure.with_help("A service allows dry runs by `with_dry_run()`, where it mounts the routes.")
        }
        _ => failure,
    }
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for migration in &report.migrations {
        describe(migration, &mut text);
    }
    if report.migrations.is_empty() {
        text.push_str("nothing would run\n");
    }
    let Report { requests, operations, usd, .. } = report;
    let _ =
        writeln!(text, "a run takes about {requests} requests and {operations} KV operations ({usd} USD)");
    if let Some(stopped) = &report.stopped {
        let _ = writeln!(text, "stopped ({stopped}) before: {}", report.remaining.join(", "));
    } else if !report.complete {
        text.push_str("a sample: a run changes more\n");
    }
    if let Some(id) = &report.in_progress {
        let _ = writeln!(text, "warning: a run is at {id}: what was read may have changed");
    }
    for warning in &report.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    text
}

fn describe(migration: &Migration, text: &mut String) {
    let Migration { id, kind, writes, deletes, bytes, .. } = migration;
    let partly = if migration.complete { "" } else { ", not to its end" };
    let _ = writeln!(text, "{id} ({kind}{partly}): {writes} writes ({bytes} bytes), {deletes} deletions");
    if let Some(entries) = migration.entries {
        let _ = writeln!(text, "  {}", show::entries(entries));
    }
    for Change { key, operation, before, after } in &migration.changes {
        let side = |entry: &Option<Entry>| match entry {
            Some(Entry { value: Some(value), .. }) => value.clone(),
            Some(Entry { bytes, .. }) => format!("{bytes} bytes"),
            None => "nothing".to_owned(),
        };
        let _ = writeln!(text, "  {operation} {key}: {} → {}", side(before), side(after));
    }
    if migration.more_changes > 0 {
        let _ = writeln!(text, "  and {} more changes", migration.more_changes);
    }
    for Finding { kind, count, keys, reason } in &migration.findings {
        let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let _ = writeln!(text, "  warning: {kind}, {count} times, first at {}{reason}", keys.join(", "));
    }
    if let Some(error) = &migration.error {
        let _ = writeln!(text, "  failed: {error}");
    }
}
