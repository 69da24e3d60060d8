//! Asks a service until a job is done: sends, waits and tells, as a [`JobState`] decides.

use std::time::Duration;

use serde_json::{Value, json};

use crate::answer::Event;
use crate::clock::Clock;
use crate::duration::show;
use crate::exit::{Exit, Failure};
use crate::http::{Request, Service};
use crate::job::{Coordination, Job};
use crate::job_state::{JobState, Next, Reason};
use crate::output::Output;

pub(crate) struct Driver<'a> {
    pub(crate) service: &'a dyn Service,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) output: &'a mut dyn Output,
    /// How long all that the command does may take.
    pub(crate) deadline: Duration,
    /// How many answers in a row may be lost.
    pub(crate) retries: u32,
}

/// A job that is done.
#[derive(Debug, PartialEq)]
pub(crate) struct Completed {
    /// The last answer. Null if it was lost.
    pub(crate) body: Value,
    /// The migrations that were applied, marked or rolled back, in order, in all requests.
    pub(crate) applied: Vec<String>,
}

impl Completed {
    /// The last line of a command with `--json`: the migrations under this name, and the last answer.
    pub(crate) fn to_json(&self, name: &str) -> Value {
        json!({ "outcome": Exit::Done.name(), "exitCode": Exit::Done.code(), name: self.applied, "report": self.body })
    }
}

impl Driver<'_> {
    /// Asks once, or until there is an answer.
    pub(crate) fn ask(&mut self, request: Request) -> Result<Value, Failure> {
        Ok(self.run(Job::new(request), Coordination::Unknown)?.body)
    }

    /// Asks until the job is done.
    pub(crate) fn run(&mut self, job: Job, coordination: Coordination) -> Result<Completed, Failure> {
        let mut state = JobState::new(job, self.retries, coordination);
        loop {
            let request = state.request();
            let left = self.deadline.saturating_sub(self.clock.now());
            let (clock, output) = (self.clock, &mut *self.output);
            let result = self.service.send(&request, left, &mut |line| {
                let event: Event = serde_json::from_str(line).unwrap_or_default();
                if !event.kind.is_empty() {
                    state.saw(&event);
                    output.event(&event, line, clock.now());
                }
            });
            let next = state.next(result, self.clock.now());
            if let Some(event) = state.take_untold() {
                let line = json!({ "event": event.kind, "id": event.id, "progress": event.progress });
                self.output.event(&event, &line.to_string(), self.clock.now());
            }
            match next {
                Next::Done(body) => return Ok(Completed { body, applied: state.applied().to_vec() }),
                Next::Failed(failure) if failure.exit == Exit::Deadline && failure.help.is_empty() => {
                    return Err(failure.with_help(carried_on(coordination)));
                }
                Next::Failed(failure) => return Err(failure),
                Next::Again(seconds, reason) => self.wait(seconds, &reason, coordination)?,
            }
        }
    }

    /// Waits, unless that takes too long.
    pub(crate) fn wait(
        &mut self,
        seconds: u64,
        reason: &Reason,
        coordination: Coordination,
    ) -> Result<(), Failure> {
        let pause = Duration::from_secs(seconds);
        if self.clock.now() + pause > self.deadline {
            return Err(too_late(self.deadline, pause, reason, coordination));
        }
        if seconds > 0 {
            self.output.wait(seconds, reason);
            self.clock.sleep(pause);
        }
        Ok(())
    }
}

fn too_late(deadline: Duration, pause: Duration, reason: &Reason, coordination: Coordination) -> Failure {
    let (deadline, pause) = (show(deadline), show(pause));
    let why = match reason {
        Reason::Continues => "the run is not finished".to_owned(),
        Reason::Quota => "KV's quota of the day is used up until 00:00 UTC".to_owned(),
        Reason::Release(detail) => format!("the expected release does not answer yet: {detail}"),
        Reason::Busy(detail) | Reason::Unavailable(detail) | Reason::Lost(detail) => detail.clone(),
    };
    let message = format!("{why}. To wait another {pause} would pass the deadline of {deadline}");
    Failure::new(Exit::Deadline, message).with_help(carried_on(coordination))
}

/// What becomes of a run whose driver ends.
pub(crate) fn carried_on(coordination: Coordination) -> &'static str {
    match coordination {
        Coordination::Coordinated => {
            "The run continues by itself. `kv-migrations watch` shows it; `kv-migrations pause ID` and `cancel ID` stop it."
        }
        _ => "Nothing is lost: the same command carries on from the last checkpoint.",
    }
}
