//! `kv-migrations baseline`.

use std::time::Duration;

use crate::driver::Driver;
use crate::duration;
use crate::exit::{Exit, Failure};
use crate::http::Request;
use crate::job::{Coordination, Job};

/// Record all migrations up to one as applied without running them: for data that already has their changes
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The last migration that is recorded
    #[arg(long, value_name = "ID")]
    to: String,
    /// Who asks: kept in the history and in the log
    #[arg(long, value_name = "LABEL")]
    by: Option<String>,
    /// Give up after this time: `90s`, `10m`, `2h`
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration::parse)]
    pub(crate) deadline: Duration,
}

pub(crate) fn run(args: &Args, driver: &mut Driver<'_>) -> Result<Exit, Failure> {
    let request =
        Request::post("/migrations/baseline").with("to", &args.to).with_some("by", args.by.as_deref());
    let completed = driver.run(Job::new(request), Coordination::Unknown)?;
    let text = match completed.applied.len() {
        0 => format!("nothing to do: all up to {} are applied", args.to),
        number => format!("{number} recorded as applied: {}", completed.applied.join(", ")),
    };
    driver.output.result(&text, &completed.to_json("marked"));
    Ok(Exit::Done)
}
