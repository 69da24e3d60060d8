//! `kv-migrations status`.

use crate::answer::Status;
use crate::command::show;
use crate::driver::Driver;
use crate::exit::{Exit, Failure};
use crate::http::Request;
use crate::release::ReleaseArgs;

/// Show the state of every registered migration
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Exit with 3 unless every migration is applied
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    pub(crate) release: ReleaseArgs,
}

pub(crate) fn run(args: &Args, driver: &mut Driver<'_>) -> Result<Exit, Failure> {
    let body = args.release.ask(Request::get("/migrations/status"), driver)?;
    let statuses: Vec<Status> = show::read(&body)?;
    let text =
        if statuses.is_empty() { "no migration is registered".to_owned() } else { show::statuses(&statuses) };
    driver.output.result(&text, &body);
    let is_up_to_date = statuses.iter().all(|status| status.run);
    Ok(if args.check && !is_up_to_date { Exit::NotUpToDate } else { Exit::Done })
}
