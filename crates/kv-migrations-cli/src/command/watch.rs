//! `kv-migrations watch`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::answer::{Event, Status};
use crate::command::show;
use crate::driver::Driver;
use crate::duration;
use crate::exit::{Exit, Failure};
use crate::http::Request;
use crate::interrupt;
use crate::job::Coordination;
use crate::job_state::Reason;

/// How often it asks.
const EVERY: Duration = Duration::from_secs(2);
/// How often nothing is seen to run until the run counts as over: between two migrations none runs for a moment.
const QUIET: u32 = 3;

/// Show a run that is in progress, until it ends, without starting one
///
/// It asks for the status every two seconds: the read-only token is enough. It exits with 0 if every migration is applied, with 1
/// if one failed, and with 3 if something is still pending or paused.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Give up after this time: `90s`, `10m`, `2h`
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = duration::parse)]
    pub(crate) deadline: Duration,
}

pub(crate) fn run(_: &Args, driver: &mut Driver<'_>) -> Result<Exit, Failure> {
    interrupt::say("It only watched: nothing was changed, and a run goes on.");
    let mut before: Vec<Status> = Vec::new();
    let mut quiet = 0;
    loop {
        let body = driver.ask(Request::get("/migrations/status"))?;
        let statuses: Vec<Status> = show::read(&body)?;
        let is_first = before.is_empty();
        for status in &statuses {
            let last = before.iter().find(|last| last.id == status.id);
            for event in changes(last, status) {
                let line =
                    json!({ "event": event.kind, "id": event.id, "progress": progress(&body, &event.id) });
                driver.output.event(&event, &line.to_string(), driver.clock.now());
            }
        }
        quiet = if statuses.iter().any(Status::is_active) { 0 } else { quiet + 1 };
        let is_stopped = statuses.iter().all(|status| status.run)
            || statuses.iter().any(|status| status.state == "paused");
        if quiet >= QUIET || (quiet > 0 && (is_first || is_stopped)) {
            return Ok(end(&statuses, &body, driver));
        }
        before = statuses;
        if driver.clock.now() + EVERY > driver.deadline {
            // Says how it goes on.
            driver.wait(EVERY.as_secs(), &Reason::Continues, Coordination::Coordinated)?;
        }
        driver.clock.sleep(EVERY);
    }
}

/// What has changed of a migration, as the events of a run tell it.
fn changes(before: Option<&Status>, now: &Status) -> Vec<Event> {
    let event = |event: &str| Event {
        kind: event.to_owned(),
        id: now.id.clone(),
        description: now.description.clone(),
        entries: now.entries,
        error: now.error.clone(),
        progress: now.progress.clone().filter(|_| event == "progress"),
    };
    let state = before.map(|status| status.state.as_str()).unwrap_or_default();
    let mut events = Vec::new();
    if now.is_active() && state != "running" {
        events.push(event("started"));
    }
    if now.is_active()
        && now.progress.is_some()
        && now.progress != before.and_then(|status| status.progress.clone())
    {
        events.push(event("progress"));
    }
    if now.run && before.is_some_and(|status| !status.run) {
        events.push(event("applied"));
    }
    if now.state == "failed" && before.is_some() && state != "failed" {
        events.push(event("failed"));
    }
    events
}

/// The progress as the service gave it.
fn progress(body: &Value, id: &str) -> Value {
    let status = body.as_array().into_iter().flatten().find(|status| status["id"] == id);
    status.map(|status| status["progress"].clone()).unwrap_or_default()
}

fn end(statuses: &[Status], body: &Value, driver: &mut Driver<'_>) -> Exit {
    driver.output.result(&show::statuses(statuses), body);
    if statuses.iter().any(|status| status.state == "failed") {
        Exit::Failed
    } else if statuses.iter().all(|status| status.run) {
        Exit::Done
    } else {
        Exit::NotUpToDate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Script, answer};

    fn watch(script: &Script) -> Result<Exit, Failure> {
        script.drive(|driver| run(&Args { deadline: Duration::from_mins(1) }, driver))
    }

    fn at(done: u64) -> Value {
        json!([
            { "id": "001", "run": true, "state": "applied" },
            { "id": "002", "state": "running", "progress": { "phase": "entries", "done": done, "total": 20 } },
        ])
    }

    #[test]
    fn it_follows_a_run_to_its_end() {
        let end = json!([{ "id": "001", "run": true, "state": "applied" }, { "id": "002", "run": true, "state": "applied" }]);
        let script =
            Script::new([answer(200, at(5)), answer(200, at(5)), answer(200, at(12)), answer(200, end)]);
        assert_eq!(watch(&script), Ok(Exit::Done));
        assert_eq!(script.events(), ["started 002", "progress 002 5", "progress 002 12", "applied 002"]);
        assert_eq!(script.waited(), 6);
        assert!(script.sent().iter().all(|sent| sent == "GET /migrations/status"), "it starts nothing");
    }

    #[test]
    fn it_ends_at_once_where_nothing_runs() {
        for (state, exit) in
            [("pending", Exit::NotUpToDate), ("paused", Exit::NotUpToDate), ("failed", Exit::Failed)]
        {
            let script = Script::new([answer(200, json!([{ "id": "001", "state": state }]))]);
            assert_eq!(watch(&script), Ok(exit), "{state}");
        }
    }

    #[test]
    fn between_two_migrations_it_waits_for_the_next() {
        let between =
            json!([{ "id": "001", "run": true, "state": "applied" }, { "id": "002", "state": "pending" }]);
        let script = Script::new(
            [answer(200, at(5)), answer(200, between.clone()), answer(200, at(9))]
                .into_iter()
                .chain(std::iter::repeat_n(answer(200, between), 3)),
        );
        assert_eq!(watch(&script), Ok(Exit::NotUpToDate));
    }
}
