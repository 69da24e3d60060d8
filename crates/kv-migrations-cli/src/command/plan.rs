//! `kv-migrations plan`.

use std::fmt::Write as _;

use crate::answer::Plan;
use crate::command::show;
use crate::driver::Driver;
use crate::exit::{Exit, Failure};
use crate::http::Request;
use crate::release::ReleaseArgs;

/// Show what a run would do now, and what looks like a mistake; changes nothing
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only up to this migration
    #[arg(long, value_name = "ID", conflicts_with = "steps")]
    to: Option<String>,
    /// Only the next N migrations
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
    #[command(flatten)]
    pub(crate) release: ReleaseArgs,
}

pub(crate) fn run(args: &Args, driver: &mut Driver<'_>) -> Result<Exit, Failure> {
    let steps = args.steps.map(|steps| steps.to_string());
    let request = Request::get("/migrations/plan")
        .with_some("to", args.to.as_deref())
        .with_some("steps", steps.as_deref());
    let body = args.release.ask(request, driver)?;
    let plan: Plan = show::read(&body)?;
    let mut text = match plan.steps.len() {
        0 => "nothing is to be run\n".to_owned(),
        number => format!("{number} to be run, in this order:\n{}", show::statuses(&plan.steps)),
    };
    if !plan.beyond.is_empty() {
        let _ = writeln!(text, "not asked for: {}", plan.beyond.join(", "));
    }
    for finding in &plan.findings {
        let _ = writeln!(text, "warning: {}", show::finding(finding));
    }
    driver.output.result(&text, &body);
    Ok(Exit::Done)
}
