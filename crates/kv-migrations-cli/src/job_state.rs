//! What to do with each answer until a request has done what it is for: a pure decision.
//!
//! A run may take many requests. Any of them can be lost, meet the release before, or reach a service that cannot answer at
//! that moment: all that is asked for again, and so it is asked in a way that can be repeated.

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde_json::Value;

use crate::answer::{Event, Problem, Report};
use crate::classify::{Answer, classify};
use crate::exit::{Exit, Failure};
use crate::http::{Lost, Reply, Request};
use crate::job::{Coordination, Job, Wait};
use crate::refusal;

/// The pauses after answers that were lost, in seconds; the last one repeats.
const PAUSES: [u64; 5] = [1, 2, 4, 8, 15];
/// The longest pause before a run that may be the program's own is looked for again, in seconds.
const BUSY: u64 = 5;
/// The pause if the service cannot answer at the moment and does not say for how long, in seconds.
const UNAVAILABLE: u64 = 5;

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Next {
    /// Ask again, after this number of seconds.
    Again(u64, Reason),
    Done(Value),
    Failed(Failure),
}

/// Why to ask again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The next request carries on.
    Continues,
    /// KV's quota of the day is used up.
    Quota,
    /// Another release answers.
    Release(String),
    /// The run of an earlier request, or another one, is in progress.
    Busy(String),
    /// The service cannot answer at the moment.
    Unavailable(String),
    /// There was no answer.
    Lost(String),
}

/// A job, and what its answers said so far.
pub(crate) struct JobState {
    job: Job,
    retries: u32,
    coordination: Coordination,
    asks_to_wait: bool,
    /// Whether the service has begun with it, so that a run in progress may be this one.
    has_begun: bool,
    /// Whether the routes have ever answered.
    is_known: bool,
    /// How many answers were lost since it got further.
    losses: u32,
    /// How far it was said to be last, and when the last answer was lost.
    place: Option<Place>,
    place_of_loss: Option<Place>,
    /// Since when another release answers.
    mismatched_since: Option<Duration>,
    applied: Vec<String>,
    /// How far it has got, as the last answer says that has not been told yet.
    untold: Option<Event>,
}

/// A migration, a phase, and the number of entries.
type Place = (String, String, u64);

impl JobState {
    pub(crate) fn new(job: Job, retries: u32, coordination: Coordination) -> Self {
        Self {
            asks_to_wait: job.wait == Wait::ForAny,
            job,
            retries,
            coordination,
            has_begun: false,
            is_known: false,
            losses: 0,
            place: None,
            place_of_loss: None,
            mismatched_since: None,
            applied: Vec::new(),
            untold: None,
        }
    }

    /// The request to send now.
    pub(crate) fn request(&self) -> Request {
        let takes_wait = self.job.wait != Wait::Never && self.coordination != Coordination::None;
        let waits = takes_wait && self.asks_to_wait;
        self.job.request.clone().with_some("wait", waits.then_some("true"))
    }

    /// The migrations that were applied or rolled back so far, in order.
    pub(crate) fn applied(&self) -> &[String] {
        &self.applied
    }

    /// How far it has got, if an answer said so: short requests end before there is an event.
    pub(crate) fn take_untold(&mut self) -> Option<Event> {
        self.untold.take()
    }

    /// Notes what happens while an answer arrives.
    pub(crate) fn saw(&mut self, event: &Event) {
        self.is_known = true;
        self.has_begun = true;
        if event.kind == "applied" {
            self.note_applied(std::slice::from_ref(&event.id));
        }
        if let Some(progress) = &event.progress {
            self.place = Some((event.id.clone(), progress.phase.clone(), progress.done));
        }
    }

    fn note_applied(&mut self, ids: &[String]) {
        let new = ids.iter().filter(|id| !self.applied.contains(id)).cloned();
        let new = new.collect::<Vec<_>>();
        if !new.is_empty() {
            self.losses = 0;
            self.place = None;
            self.applied.extend(new);
        }
    }

    /// Decides what follows from an answer, or from its loss.
    pub(crate) fn next(&mut self, result: Result<Reply, Lost>, now: Duration) -> Next {
        let reply = match result {
            Ok(reply) => reply,
            Err(lost) => return self.after_loss(lost),
        };
        let answer = classify(&reply);
        let is_ours = !matches!(answer, Answer::Foreign { .. } | Answer::WithoutVerdict);
        let was_lost = self.losses > 0;
        if is_ours {
            self.is_known = true;
            self.losses = 0;
        }
        match answer {
            Answer::Done(body) => self.after_report(body, None),
            Answer::Unfinished(body, after) => self.after_report(body, Some(after)),
            Answer::WithoutVerdict => self.after_cut_off(),
            Answer::Foreign { status, reason } => self.after_foreign(status, &reason),
            Answer::Problem { problem, raw, retry_after } => {
                self.after_problem(problem, raw, retry_after, was_lost, now)
            }
        }
    }

    fn after_report(&mut self, body: Value, after: Option<u64>) -> Next {
        self.mismatched_since = None;
        let report: Report = serde_json::from_value(body.clone()).unwrap_or_default();
        let done = [&report.ran[..], &report.marked, report.rolled_back.ids()].concat();
        self.note_applied(&done);
        match after {
            Some(after) if !self.job.ends_unfinished => {
                self.has_begun = true;
                self.asks_to_wait = true;
                let next = report.remaining.as_ref().and_then(|remaining| remaining.first());
                self.untold = next.filter(|_| report.progress.is_some()).map(|id| Event {
                    kind: "progress".to_owned(),
                    id: id.clone(),
                    progress: report.progress.clone(),
                    ..Event::default()
                });
                Next::Again(after, if report.quota_exhausted { Reason::Quota } else { Reason::Continues })
            }
            _ => Next::Done(body),
        }
    }

    fn after_problem(
        &mut self,
        problem: Problem,
        raw: Value,
        retry_after: Option<u64>,
        was_lost: bool,
        now: Duration,
    ) -> Next {
        self.note_applied(&problem.ran);
        let kind = problem.kind().unwrap_or_default();
        if kind != "release-mismatch" {
            self.mismatched_since = None;
        }
        match kind {
            _ if (was_lost || self.has_begun) && self.job.done_by == Some(kind) => Next::Done(Value::Null),
            "invalid-query" if self.request() != self.job.request => {
                self.coordination = Coordination::None;
                Next::Again(0, Reason::Continues)
            }
            "release-mismatch" => {
                let since = *self.mismatched_since.get_or_insert(now);
                match self.job.release_patience {
                    Some(patience) if now.saturating_sub(since) < patience => {
                        Next::Again(retry_after.unwrap_or(UNAVAILABLE), Reason::Release(problem.detail))
                    }
                    Some(_) => Next::Failed(Failure {
                        exit: Exit::Deadline,
                        help: "The release that registers this migration has not arrived. Check that the deploy succeeded, and the \
                               id; `--release-deadline` waits longer. Nothing was changed."
                            .to_owned(),
                        ..refusal::of_problem(problem, raw)
                    }),
                    None => Next::Failed(refusal::of_problem(problem, raw)),
                }
            }
            "run-in-progress" if self.may_be_own() => {
                Next::Again(retry_after.unwrap_or(BUSY).clamp(1, BUSY), Reason::Busy(problem.detail))
            }
            "coordinator-unavailable" if !self.job.is_repeatable => {
                Next::Failed(refusal::of_problem(problem, raw))
            }
            "quota-exhausted" => Next::Again(retry_after.unwrap_or(UNAVAILABLE), Reason::Quota),
            "kv-unavailable" | "coordinator-unavailable" | "unfinished" => {
                self.asks_to_wait = true;
                Next::Again(retry_after.unwrap_or(UNAVAILABLE), Reason::Unavailable(problem.detail))
            }
            _ => Next::Failed(refusal::of_problem(problem, raw)),
        }
    }

    /// Whether a run in progress is waited for by asking again.
    fn may_be_own(&self) -> bool {
        match self.job.wait {
            Wait::Never => false,
            Wait::ForOwn => self.has_begun,
            Wait::ForAny => true,
        }
    }

    /// Events ended without a verdict: by a panic, or where the network cut them off.
    fn after_cut_off(&mut self) -> Next {
        let reason = "the answer ended before it said how the run went";
        let message = format!("{reason}, {} times at the same place", self.losses + 1);
        let failure = Failure::new(Exit::Failed, message).with_help(
            "A migration may panic there, or take more memory or CPU time than there is: the logs of the Worker say. \
             `kv-migrations status` says how far it is.",
        );
        self.again_unless(reason, true, failure)
    }

    fn after_foreign(&mut self, status: u16, reason: &str) -> Next {
        let failure = refusal::of_foreign(status, reason);
        // In the middle of a deploy, and in front of a service that is overloaded, others answer for a moment.
        let may_pass = status >= 500 || status == 429 || self.is_known;
        if may_pass { self.again_unless(reason, true, failure) } else { Next::Failed(failure) }
    }

    fn after_loss(&mut self, lost: Lost) -> Next {
        let (message, may_have_arrived) = match lost {
            Lost::TimeIsUp => return Next::Failed(Failure::new(Exit::Deadline, "the time is up")),
            Lost::NotReached(reason) => (format!("the service cannot be reached: {reason}"), false),
            Lost::Broken(reason) => (format!("the connection was lost: {reason}"), true),
        };
        let help = "Check the address. The same command carries on what was begun.";
        let failure = Failure::new(Exit::Unreachable, message.clone()).with_help(help);
        self.again_unless(&message, may_have_arrived, failure)
    }

    /// Asks again, unless as many answers in a row were lost as may be, and it got no further: then it fails.
    fn again_unless(&mut self, reason: &str, may_have_arrived: bool, failure: Failure) -> Next {
        if may_have_arrived && !self.job.is_repeatable {
            return Next::Failed(failure.with_help(
                "Nobody knows whether it was done, so it is not repeated. `kv-migrations status` says how far it is.",
            ));
        }
        if self.place.is_some() && self.place != self.place_of_loss {
            self.losses = 0;
        }
        self.place_of_loss.clone_from(&self.place);
        if self.losses >= self.retries {
            return Next::Failed(failure);
        }
        let pause = usize::try_from(self.losses).ok().and_then(|losses| PAUSES.get(losses));
        let pause = pause.or(PAUSES.last()).copied().unwrap_or_default();
        self.losses += 1;
        self.has_begun |= may_have_arrived;
        self.asks_to_wait = true;
        Next::Again(pause, Reason::Lost(reason.to_owned()))
    }
}
