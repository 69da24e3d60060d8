//! What an object is asked to do, and how that goes on after each step: pure.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{Activity, Caller, CoordinatorError};
use crate::clock::{at_milliseconds, iso8601, milliseconds};

/// How long to wait before a step that failed is tried again. When it has failed once more than that, the run has.
const WAITS: [Duration; 4] =
    [Duration::from_secs(5), Duration::from_secs(30), Duration::from_mins(2), Duration::from_mins(10)];
/// When a step was cut off so often in a row, the run has failed: a crash, an eviction or a deploy is no reason to, but it
/// seems that the step itself is what ends its instance.
pub(super) const MOST_CUT_OFF: u32 = 5;
/// So many failed attempts are told in full.
const MOST_FAILURES: usize = 10;
/// So many requests to pause, resume or cancel are.
const MOST_INTERVENTIONS: usize = 20;

/// A run or a rollback, from the request for it to its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) number: u64,
    pub(super) action: Action,
    pub(super) by: Option<String>,
    /// ISO 8601.
    pub(super) since: String,
    pub(super) next: Next,
    /// What it is to be stopped for, once the step has ended that is being taken.
    pub(super) wanted: Option<Wanted>,
    /// Those that have ended.
    pub(super) steps: u64,
    /// How often the step that is next was begun: whenever it did not end, it was cut off.
    pub(super) begun: u32,
    /// Whether the last step failed.
    pub(super) has_failed: bool,
    /// How often it has failed since it last got further than before.
    pub(super) attempts: u32,
    /// How many entries were done, at most, when it failed.
    pub(super) failed_at: u64,
    /// Whether there was something to be rolled back.
    pub(super) is_begun: bool,
    /// The migration that it is at.
    pub(super) migration: Option<String>,
    /// How many it has applied so far.
    pub(super) ran: u64,
    pub(super) duration_ms: u64,
    pub(super) operations: u64,
    pub(super) failed_attempts: u64,
    pub(super) failures: Vec<FailureRecordtempt>,
    pub(super) interventions: Vec<Intervention>,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Action {
    Migrate,
    Rollback { id: String },
}

/// When a step is taken next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Next {
    /// Not before this time, in milliseconds since 1970.
    At(u64),
    /// Not before it is resumed.
    Resumed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Wanted {
    /// If it is still at this migration then.
    Pause { at: String },
    /// Also if it has got further then, but what is forgotten is the checkpoint of this migration.
    Cancel { at: String },
}

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FailureRecordtempt {
    /// When: ISO 8601.
    pub at: String,
    /// Why: at most 1,000 bytes of the error.
    pub error: String,
}

/// Something that was asked of a run while it went on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Intervention {
    /// When: ISO 8601.
    pub at: String,
    /// `pause`, `resume` or `cancel`.
    pub action: String,
    /// Who asked for it, if they said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// Nothing is left to be done.
    Finished,
    /// More is, after this time, at this migration.
    Partly { after: Duration, migration: Option<String> },
    /// It was asked for something that cannot be done, or not any more.
    Refused { error: String },
    /// It failed, at this migration, of which so many entries were done.
    Failed { error: String, migration: Option<String>, done: u64 },
}

/// How a task goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// By an alarm at this time.
    Alarm(SystemTime),
    /// When it is resumed.
    Paused,
    /// Not at all.
    Over(Outcome),
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Outcome {
    /// It goes on.
    Running,
    /// It waits to be resumed.
    Paused,
    /// It did all that was to be done.
    Finished,
    /// It failed, and was not tried again, or once too often.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl Task {
    pub(super) fn new(number: u64, action: Action, caller: &Caller, now: SystemTime) -> Self {
        Self {
            number,
            migration: match &action {
                Action::Migrate => None,
                Action::Rollback { id } => Some(id.clone()),
            },
            action,
            by: caller.label.clone(),
            since: iso8601(now),
            next: Next::At(milliseconds(now)),
            wanted: None,
            steps: 0,
            begun: 0,
            is_begun: false,
            has_failed: false,
            attempts: 0,
            failed_at: 0,
            ran: 0,
            duration_ms: 0,
            operations: 0,
            failed_attempts: 0,
            failures: Vec::new(),
            interventions: Vec::new(),
        }
    }

    /// When its next step is due, unless it is paused.
    pub(super) fn due(&self) -> Option<SystemTime> {
        match self.next {
            Next::At(milliseconds) => Some(at_milliseconds(milliseconds)),
            Next::Resumed => None,
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.next == Next::Resumed
    }

    /// Whether its last step failed, and is to be tried again.
    pub(super) fn is_retrying(&self) -> bool {
        self.has_failed
    }

    /// How it goes on after a step.
    ///
    /// The first step has a caller who waits for it, and gets its failure for an answer. Nobody waits for the others:
    /// those are tried again. So is the first, if it was cut off, and its caller with it.
    pub(super) fn turn(&mut self, ended: Ended, now: SystemTime) -> Turn {
        let is_first = self.steps == 0 && self.begun == 1;
        self.steps += 1;
        self.begun = 0;
        let wait = match ended {
            Ended::Finished => return Turn::Over(Outcome::Finished),
            Ended::Refused { error } => {
                if !is_first {
                    self.note_failure(error, now);
                }
                return Turn::Over(Outcome::Failed);
            }
            Ended::Partly { after, migration } => {
                self.at(migration);
                self.has_failed = false;
                after
            }
            Ended::Failed { error, migration, done } => {
                self.at(migration);
                if done > self.failed_at {
                    (self.attempts, self.failed_at) = (0, done);
                }
                self.note_failure(error, now);
                self.has_failed = true;
                match WAITS.get(usize::try_from(self.attempts).unwrap_or(usize::MAX)) {
                    Some(wait) if !is_first => {
                        self.attempts += 1;
                        *wait
                    }
                    _ => return self.stop().unwrap_or(Turn::Over(Outcome::Failed)),
                }
            }
        };
        let at = now + wait;
        self.next = Next::At(milliseconds(at));
        self.stop().unwrap_or(Turn::Alarm(at))
    }

    /// Attempts count for one migration. That a step of it succeeds is no reason to forget them: a re-key that fails
    /// begins anew, and would do so for ever.
    pub(super) fn at(&mut self, migration: Option<String>) {
        if self.migration != migration {
            (self.attempts, self.failed_at) = (0, 0);
        }
        self.migration = migration;
    }

    /// Begins the next step; not if that was cut off too often, which is a failure too.
    pub(super) fn begin(&mut self, now: SystemTime) -> Result<(), CoordinatorError> {
        if self.begun < MOST_CUT_OFF {
            self.begun += 1;
            return Ok(());
        }
        let error = CoordinatorError::CutOff { id: self.migration.clone() };
        self.note_failure(error.to_string(), now);
        Err(error)
    }

    /// What is asked of it now is done now, if no step is being taken; else when that has ended.
    pub(super) fn stop(&mut self) -> Option<Turn> {
        match self.wanted.take()? {
            Wanted::Pause { at } if self.migration.as_ref() == Some(&at) => {
                self.next = Next::Resumed;
                Some(Turn::Paused)
            }
            Wanted::Pause { .. } => None,
            Wanted::Cancel { at } => {
                self.migration = Some(at);
                Some(Turn::Over(Outcome::Cancelled))
            }
        }
    }

    /// It goes on at once, and what failed before does not count any more.
    pub(super) fn resume(&mut self, now: SystemTime) {
        self.wanted = None;
        (self.begun, self.attempts, self.has_failed) = (0, 0, false);
        self.next = Next::At(milliseconds(now));
    }

    pub(super) fn note(&mut self, action: &str, caller: &Caller, now: SystemTime) {
        if self.interventions.len() < MOST_INTERVENTIONS {
            let (at, action, by) = (iso8601(now), action.to_owned(), caller.label.clone());
            self.interventions.push(Intervention { at, action, by });
        }
    }

    /// The first ones: those are the cause, and the last is that of the run.
    fn note_failure(&mut self, mut error: String, now: SystemTime) {
        const BYTES: usize = 1_000;
        error.truncate(error.floor_char_boundary(BYTES));
        self.failed_attempts += 1;
        if self.failures.len() == MOST_FAILURES {
            self.failures.pop();
        }
        self.failures.push(FailureRecordtempt { at: iso8601(now), error });
    }

    pub(super) fn activity(&self) -> Activity {
        Activity {
            by: self.by.clone(),
            since: self.since.clone(),
            migration: self.migration.clone(),
            progress: None,
        }
    }
}
