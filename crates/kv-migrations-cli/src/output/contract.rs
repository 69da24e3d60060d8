//! What a command can tell.

use std::time::Duration;

use serde_json::Value;

use crate::answer::Event;
use crate::exit::Failure;
use crate::job_state::Reason;

/// Where a command tells what it does.
pub(crate) trait Output {
    /// Something happened in a run. `line` is how the service told it.
    fn event(&mut self, event: &Event, line: &str, now: Duration);

    /// It waits for this number of seconds.
    fn wait(&mut self, seconds: u64, reason: &Reason);

    /// Something for people.
    fn note(&mut self, text: &str);

    /// The result of the command: for people, or for machines.
    fn result(&mut self, text: &str, json: &Value);

    /// The end of a command that failed.
    fn failure(&mut self, failure: &Failure);
}
