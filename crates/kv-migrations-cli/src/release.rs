//! Which release is to answer a command that asks once.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::driver::Driver;
use crate::duration;
use crate::exit::Failure;
use crate::http::Request;
use crate::job::{Coordination, Job};
use crate::sources::{DIRECTORY, Sources};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_mins(2);

#[derive(clap::Args, Default)]
pub(crate) struct ReleaseArgs {
    /// Exit with 3 unless the release that answers registers this migration
    #[arg(long, value_name = "ID")]
    expect: Option<String>,
    /// Expect the last migration in the sources of the service
    #[arg(long, conflicts_with = "expect")]
    expect_last: bool,
    /// Where the migrations of the service are, for `--expect-last`
    #[arg(long, value_name = "DIRECTORY", default_value = DIRECTORY)]
    migrations: PathBuf,
    /// Wait so long for the release that is expected: `90s`, `5m`. Exit with 6 if it does not come
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    release_deadline: Option<Duration>,
}

impl ReleaseArgs {
    /// How long the command may take.
    pub(crate) fn deadline(&self) -> Duration {
        self.release_deadline.unwrap_or_default() + ANSWER
    }

    /// Asks once, or until the release answers.
    pub(crate) fn ask(&self, request: Request, driver: &mut Driver<'_>) -> Result<Value, Failure> {
        let expected = self.expected()?;
        let request = request.with_some("expect", expected.as_deref());
        let job = Job { release_patience: self.release_deadline, ..Job::new(request) };
        Ok(driver.run(job, Coordination::Unknown)?.body)
    }

    fn expected(&self) -> Result<Option<String>, Failure> {
        if !self.expect_last {
            return Ok(self.expect.clone());
        }
        let sources = Sources::find(&self.migrations).ok_or_else(|| {
            let file = self.migrations.join("mod.rs");
            Failure::usage(format!("--expect-last: there is no {}", file.display()))
                .with_help("Run it in the directory of the service, or name another by `--migrations`.")
        })?;
        sources.last_id()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::exit::Exit;
    use crate::testing::{Script, answer};

    fn asked(args: &ReleaseArgs, script: &Script) -> Result<Value, Failure> {
        script.drive(|driver| args.ask(Request::get("/migrations/status"), driver))
    }

    #[test]
    fn it_waits_for_the_release_as_long_as_it_is_told_to() {
        let args = ReleaseArgs { expect: Some("002".to_owned()), ..ReleaseArgs::default() };
        let script = Script::new([Script::problem(503, "release-mismatch")]);
        assert_eq!(asked(&args, &script).unwrap_err().exit, Exit::NotUpToDate);
        assert_eq!(script.sent(), ["GET /migrations/status?expect=002"]);

        let patient = ReleaseArgs { release_deadline: Some(Duration::from_secs(9)), ..args };
        let script = Script::new([Script::problem(503, "release-mismatch"), answer(200, json!([]))]);
        assert_eq!(asked(&patient, &script), Ok(json!([])));
        assert_eq!(script.waits(), ["Release 5"]);
        let script = Script::new(std::iter::repeat_n(Script::problem(503, "release-mismatch"), 3));
        assert_eq!(asked(&patient, &script).unwrap_err().exit, Exit::Deadline);
    }

    #[test]
    fn without_sources_nothing_is_asked() {
        let migrations = PathBuf::from("no/such/directory");
        let args = ReleaseArgs { expect_last: true, migrations, ..ReleaseArgs::default() };
        let failure = asked(&args, &Script::new([])).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert_eq!(failure.message, "--expect-last: there is no no/such/directory/mod.rs");
    }
}
