//! `kv-migrations rollback`.

use std::time::Duration;

use clap::ArgGroup;

use crate::answer::Status;
use crate::command::show;
use crate::driver::{Driver, carried_on};
use crate::duration;
use crate::exit::{Exit, Failure};
use crate::http::{Request, encoded};
use crate::interrupt;
use crate::job::{Coordination, Job, Wait};

/// Roll back one migration, or the last ones, by their `down`
#[derive(clap::Args)]
#[command(group = ArgGroup::new("what").required(true))]
pub(crate) struct Args {
    /// This migration alone, whatever ran after it
    #[arg(group = "what")]
    id: Option<String>,
    /// All that are registered after this one, which stays
    #[arg(long, value_name = "ID", group = "what")]
    to: Option<String>,
    /// The last N that are applied or have begun
    #[arg(long, value_name = "N", group = "what", value_parser = clap::value_parser!(u32).range(1..))]
    steps: Option<u32>,
    /// All
    #[arg(long, group = "what")]
    all: bool,
    /// Wait for a run that is in progress, in place of failing (with a coordinator)
    #[arg(long)]
    wait: bool,
    /// Give up after this time: `90s`, `10m`, `2h`
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration::parse)]
    pub(crate) deadline: Duration,
    /// Who asks: kept in the history and in the log
    #[arg(long, value_name = "LABEL")]
    by: Option<String>,
}

pub(crate) fn run(args: &Args, driver: &mut Driver<'_>) -> Result<Exit, Failure> {
    let request = match (&args.id, &args.to) {
        (Some(id), _) => Request::post(format!("/migrations/{}/rollback", encoded(id))),
        (_, Some(to)) => several().with("to", to),
        _ => match args.steps {
            Some(steps) => last(steps, driver)?,
            None => several().with("steps", "all"),
        },
    };
    let job = Job {
        wait: if args.wait { Wait::ForAny } else { Wait::ForOwn },
        // One that is rolled back already was rolled back by the request whose answer was lost.
        done_by: args.id.is_some().then_some("not-run"),
        ..Job::new(request.with_some("by", args.by.as_deref()))
    };
    interrupt::say(
        "A request that is under way goes on for some seconds; with a coordinator the rollback goes on to its end. The same command \
         carries it on, and `kv-migrations migrate` takes it back.",
    );
    let completed = driver.run(job, Coordination::Unknown)?;
    interrupt::say(carried_on(Coordination::None));
    let mut rolled_back = completed.applied.clone();
    if let Some(id) = args.id.iter().find(|id| !rolled_back.contains(id)) {
        rolled_back.push(id.clone());
    }
    let text = match rolled_back.as_slice() {
        [] => "nothing to do: nothing is applied after that".to_owned(),
        ids => format!("rolled back: {}", ids.join(", ")),
    };
    driver.output.result(&text, &completed.to_json("rolledBack"));
    Ok(Exit::Done)
}

fn several() -> Request {
    Request::post("/migrations/rollback")
}

/// The rollback of the last N, said so that it can be repeated: by the last that stays.
fn last(steps: u32, driver: &mut Driver<'_>) -> Result<Request, Failure> {
    let statuses: Vec<Status> = show::read(&driver.ask(Request::get("/migrations/status"))?)?;
    let begun = statuses.iter().filter(|status| status.has_begun()).collect::<Vec<_>>();
    let stays =
        usize::try_from(steps).ok().and_then(|steps| begun.len().checked_sub(steps)).unwrap_or_default();
    match stays.checked_sub(1).and_then(|last| begun.get(last)) {
        None => Ok(several().with("steps", "all")),
        Some(status) if status.run => Ok(several().with("to", &status.id)),
        Some(status) => Err(Failure::usage(format!(
            "the last that would stay, {}, has begun and is not applied: name another one by `--to`, or roll it back by itself",
            status.id
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{Script, answer};

    fn args(steps: u32) -> Args {
        let deadline = Duration::from_mins(1);
        Args {
            id: None,
            to: None,
            steps: Some(steps),
            all: false,
            wait: false,
            deadline,
            by: Some("me".to_owned()),
        }
    }

    fn statuses() -> serde_json::Value {
        json!([
            { "id": "001", "run": true, "state": "applied" },
            { "id": "002", "run": false, "state": "failed" },
            { "id": "003", "run": true, "state": "applied" },
            { "id": "004", "run": false, "state": "running", "progress": { "done": 1 } },
        ])
    }

    #[test]
    fn a_number_of_steps_is_sent_as_what_stays() {
        for (steps, query) in [(1, "to=003"), (2, "to=001"), (3, "steps=all"), (9, "steps=all")] {
            let done = answer(200, json!({ "rolledBack": ["004"], "remaining": [] }));
            let script = Script::new([answer(200, statuses()), done]);
            assert_eq!(script.drive(|driver| run(&args(steps), driver)), Ok(Exit::Done));
            assert_eq!(script.sent()[1], format!("POST /migrations/rollback?{query}&by=me"));
        }
    }

    #[test]
    fn what_has_only_begun_cannot_be_named_as_what_stays() {
        let statuses =
            json!([{ "id": "001", "state": "running", "progress": {} }, { "id": "002", "run": true }]);
        let script = Script::new([answer(200, statuses)]);
        assert_eq!(script.drive(|driver| run(&args(1), driver)).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn one_that_an_unanswered_request_rolled_back_is_done() {
        let args = Args { id: Some("a/b".to_owned()), steps: None, by: None, ..args(1) };
        let script = Script::new([
            answer(202, json!({ "progress": { "direction": "down" } })),
            Script::broken(),
            Script::problem(409, "not-run"),
        ]);
        assert_eq!(script.drive(|driver| run(&args, driver)), Ok(Exit::Done));
        let wait = "POST /migrations/a%2Fb/rollback?wait=true";
        assert_eq!(script.sent(), ["POST /migrations/a%2Fb/rollback", wait, wait]);
        assert_eq!(script.results(), ["rolled back: a/b"]);

        let never = Script::new([Script::problem(409, "not-run")]);
        assert_eq!(never.drive(|driver| run(&args, driver)).unwrap_err().exit, Exit::Failed);
    }
}
