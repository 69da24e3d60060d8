//! `kv-migrations history`.

use serde::Deserialize;

use crate::command::show;
use crate::driver::Driver;
use crate::exit::{Exit, Failure};
use crate::http::Request;
use crate::text::table;

/// Show the runs, rollbacks and corrections that were asked for, the newest first (with a coordinator)
#[derive(clap::Args)]
pub(crate) struct Args {
    /// At most this number
    #[arg(long, value_name = "N")]
    last: Option<usize>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Row {
    number: u64,
    action: String,
    by: Option<String>,
    started_at: String,
    outcome: String,
    migration: Option<String>,
    ran: Vec<String>,
    failures: Vec<FailedAttempt>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct FailedAttempt {
    error: String,
}

pub(crate) fn run(args: &Args, driver: &mut Driver<'_>) -> Result<Exit, Failure> {
    let mut body = driver.ask(Request::get("/migrations/history")).map_err(without_coordinator)?;
    if let (Some(last), Some(rows)) = (args.last, body.as_array_mut()) {
        rows.truncate(last);
    }
    let rows: Vec<Row> = show::read(&body)?;
    let text = if rows.is_empty() {
        "nothing was asked for yet".to_owned()
    } else {
        table(&rows.iter().map(cells).collect::<Vec<_>>())
    };
    driver.output.result(&text, &body);
    Ok(Exit::Done)
}

fn cells(row: &Row) -> Vec<String> {
    let what =
        if row.ran.is_empty() { row.migration.clone().unwrap_or_default() } else { row.ran.join(", ") };
    let by = row.by.as_ref().map(|by| format!("by {by}")).unwrap_or_default();
    let failure =
        row.failures.last().map(|failure| show::first_line(&failure.error).to_owned()).unwrap_or_default();
    vec![
        format!("#{}", row.number),
        row.started_at.clone(),
        row.action.clone(),
        row.outcome.clone(),
        what,
        by,
        failure,
    ]
}

/// Only a coordinator has this route.
fn without_coordinator(failure: Failure) -> Failure {
    match failure.exit {
        Exit::Unreachable => failure.with_help("Only a service with a coordinator has a history."),
        _ => failure,
    }
}
