//! `kv-migrations migrate`: plans, runs to the end, and checks.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::answer::{Plan, Report, Status};
use crate::command::show;
use crate::driver::{Driver, carried_on};
use crate::duration;
use crate::exit::{Exit, Failure};
use crate::http::Request;
use crate::interrupt;
use crate::job::{Coordination, Job, Wait};
use crate::job_state::Reason;
use crate::sources::{DIRECTORY, Sources};

/// KV shows everywhere what was written after a minute or more: how often the check looks again, and for how long.
const CHECK_EVERY: u64 = 5;
const CHECK_FOR: Duration = Duration::from_mins(3);

/// Apply what is pending, over as many requests as that takes, and check that it is applied
///
/// It asks for the plan first, and runs to its last migration. It survives lost answers, a service that cannot answer for a
/// moment, and a deploy in between. If it ends early, run the same command again to continue.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only up to this migration
    #[arg(long, value_name = "ID", conflicts_with_all = ["steps", "entries"])]
    pub(crate) to: Option<String>,
    /// Only the next N migrations
    #[arg(long, value_name = "N", conflicts_with = "entries", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) steps: Option<u32>,
    /// Only N entries of the next migration, which must be a backfill, to look at them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) entries: Option<u32>,
    /// Wait for a run that is in progress, in place of failing
    #[arg(long)]
    pub(crate) wait: bool,
    /// Give up after this time: `90s`, `10m`, `2h`
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration::parse)]
    pub(crate) deadline: Duration,
    /// Wait for the release that registers this migration: name the last one of the release that you deploy
    ///
    /// By default it is the last migration in `src/migrations/mod.rs`, if that file exists.
    #[arg(long, value_name = "ID", conflicts_with = "any_release")]
    pub(crate) expect: Option<String>,
    /// Run with whichever release answers
    #[arg(long)]
    pub(crate) any_release: bool,
    /// How long to wait for that release
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration::parse)]
    pub(crate) release_deadline: Duration,
    /// Where the migrations of the service are
    #[arg(long, value_name = "DIRECTORY", default_value = DIRECTORY)]
    pub(crate) migrations: PathBuf,
    /// Who asks: kept in the history and in the log
    #[arg(long, value_name = "LABEL")]
    pub(crate) by: Option<String>,
}

pub(crate) fn run(args: &Args, driver: &mut Driver<'_>) -> Result<Exit, Failure> {
    let expected = expected(args, &args.migrations, driver)?;
    if let Some(entries) = args.entries {
        return run_entries(args, entries, expected.as_deref(), driver);
    }
    let plan = plan(args, expected.as_deref(), driver)?;
    for finding in &plan.findings {
        driver.output.note(&format!("warning: {}", show::finding(finding)));
    }
    let Some(last) = plan.steps.last().map(|step| step.id.clone()) else {
        let json = json!({ "outcome": "done", "exitCode": 0, "ran": [], "beyond": plan.beyond });
        driver.output.result("nothing to do: all that was asked for is applied", &json);
        return Ok(Exit::Done);
    };
    if plan.access == "read" {
        let names = plan.steps.iter().map(|step| step.id.as_str());
        let message = format!("this token may only read; pending: {}", names.collect::<Vec<_>>().join(", "));
        return Err(Failure::new(Exit::NoAccess, message));
    }

    let coordination = coordination(driver)?;
    interrupt::say(interrupted(coordination));
    let job = Job {
        wait: if args.wait { Wait::ForAny } else { Wait::ForOwn },
        release_patience: Some(args.release_deadline),
        ..Job::new(migrate(args, expected.as_deref()).with("to", &last).with_events())
    };
    let completed = driver.run(job, coordination)?;
    interrupt::say("All is applied; only the check is left. `kv-migrations status` makes it.");
    let report: Report = show::read(&completed.body)?;
    for warning in &report.warnings {
        driver.output.note(&format!("warning: {warning}"));
    }
    check(&last, expected.as_deref(), args, driver)?;
    let text = match completed.applied.as_slice() {
        [] => format!("done: all up to {last} are applied"),
        ids => format!("done: {} applied: {}", ids.len(), ids.join(", ")),
    };
    let beyond = if report.beyond.is_empty() {
        String::new()
    } else {
        format!("\nnot asked for: {}", report.beyond.join(", "))
    };
    driver.output.result(&format!("{text}{beyond}"), &completed.to_json("ran"));
    Ok(Exit::Done)
}

/// The migration by which the release is told.
fn expected(args: &Args, directory: &Path, driver: &mut Driver<'_>) -> Result<Option<String>, Failure> {
    if args.any_release || args.expect.is_some() {
        return Ok(args.expect.clone());
    }
    let Some(sources) = Sources::find(directory) else {
        driver.output.note(&format!(
            "whichever release answers is run: there is no --expect, and no {}",
            directory.join("mod.rs").display()
        ));
        return Ok(None);
    };
    let help = "Name the last migration of the release by `--expect ID`, or take `--any-release`.";
    let last = sources.last_id().map_err(|failure| failure.with_help(help))?;
    if let Some(id) = &last {
        driver.output.note(&format!(
            "expects the release that registers {id}, the last in {}",
            sources.list_file().display()
        ));
    }
    Ok(last)
}

/// A run, but for how far.
fn migrate(args: &Args, expected: Option<&str>) -> Request {
    Request::post("/migrate").with_some("expect", expected).with_some("by", args.by.as_deref())
}

fn plan(args: &Args, expected: Option<&str>, driver: &mut Driver<'_>) -> Result<Plan, Failure> {
    let steps = args.steps.map(|steps| steps.to_string());
    let request = Request::get("/migrations/plan")
        .with_some("to", args.to.as_deref())
        .with_some("steps", steps.as_deref())
        .with_some("expect", expected);
    let job = Job { release_patience: Some(args.release_deadline), ..Job::new(request) };
    show::read(&driver.run(job, Coordination::Unknown)?.body)
}

/// Whether there is a coordinator: only with one is there a history. Mounted in front of a service, the request goes to that
/// otherwise, which may answer anything.
fn coordination(driver: &mut Driver<'_>) -> Result<Coordination, Failure> {
    let retries = std::mem::replace(&mut driver.retries, 1);
    let history = driver.ask(Request::get("/migrations/history"));
    driver.retries = retries;
    let is_history =
        |rows: &[Value]| rows.iter().all(|row| row["number"].is_u64() && row["action"].is_string());
    match history {
        Ok(Value::Array(rows)) if is_history(&rows) => Ok(Coordination::Coordinated),
        Ok(_) => Ok(Coordination::None),
        Err(failure) if failure.exit == Exit::Deadline => Err(failure),
        // The routes have no such route, or something else answers.
        Err(failure) if failure.exit == Exit::Unreachable => Ok(Coordination::None),
        Err(_) => Ok(Coordination::Unknown),
    }
}

fn interrupted(coordination: Coordination) -> &'static str {
    match coordination {
        Coordination::Coordinated => carried_on(coordination),
        Coordination::None => {
            "The request that is under way may go on for some seconds; then the run stands still at its last checkpoint. The same \
             command carries it on."
        }
        Coordination::Unknown => {
            "With a coordinator the run continues by itself, and `kv-migrations pause ID` and `cancel ID` stop it. Without one it stands \
             still soon, and the same command carries it on."
        }
    }
}

/// Changes a few entries of the next migration. It is one request, which is not repeated: it would be as many entries more.
fn run_entries(
    args: &Args,
    entries: u32,
    expected: Option<&str>,
    driver: &mut Driver<'_>,
) -> Result<Exit, Failure> {
    let request = migrate(args, expected).with("entries", &entries.to_string());
    let job =
        Job { is_repeatable: false, release_patience: Some(args.release_deadline), ..Job::new(request) };
    interrupt::say("`kv-migrations status` says whether the entries were changed.");
    let completed = driver.run(job, Coordination::Unknown)?;
    let report: Report = show::read(&completed.body)?;
    let counts =
        report.entries.map_or_else(|| "`kv-migrations history` says how many".to_owned(), show::entries);
    let progress = report
        .progress
        .map(|progress| format!("\nin all: {}", crate::pace::count(&progress)))
        .unwrap_or_default();
    driver.output.result(&format!("done: {counts}{progress}"), &completed.to_json("ran"));
    Ok(Exit::Done)
}

/// Asks until the service shows that all up to this migration are applied.
fn check(last: &str, expected: Option<&str>, args: &Args, driver: &mut Driver<'_>) -> Result<(), Failure> {
    let until = driver.clock.now() + CHECK_FOR;
    loop {
        let request = Request::get("/migrations/status").with_some("expect", expected);
        let job = Job { release_patience: Some(args.release_deadline), ..Job::new(request) };
        let statuses: Vec<Status> = show::read(&driver.run(job, Coordination::Unknown)?.body)?;
        let place = statuses.iter().position(|status| status.id == last);
        let asked_for = place.and_then(|place| statuses.get(..=place)).unwrap_or_default();
        let pending = asked_for
            .iter()
            .filter(|status| !status.run)
            .map(|status| status.id.as_str())
            .collect::<Vec<_>>();
        if pending.is_empty() && place.is_some() {
            return Ok(());
        }
        let pending = if place.is_some() { pending.join(", ") } else { format!("{last} (not registered)") };
        let detail = format!("the service does not show as applied: {pending}");
        if driver.clock.now() + Duration::from_secs(CHECK_EVERY) > until {
            return Err(Failure::new(Exit::NotUpToDate, format!("the run is done, and yet {detail}")).with_help(
                "KV shows everywhere what was written after a minute or more: `kv-migrations status --check` asks again.",
            ));
        }
        driver.wait(CHECK_EVERY, &Reason::Busy(detail), Coordination::None)?;
    }
}
