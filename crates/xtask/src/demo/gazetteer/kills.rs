//! When the server is killed: in the middle of each phase that writes or deletes, or gathers a state.

use std::time::Duration;

use super::progress::Progress;
use super::{ID_BY_COUNTRY, ID_INDEX, ID_NORMALISE};

pub(super) struct Kills {
    due: Vec<(&'static str, &'static str)>,
    /// How long to wait until a request is in the middle of its work.
    pub(super) wait: Duration,
}

impl Kills {
    pub(super) fn new() -> Self {
        Self {
            due: vec![
                (ID_NORMALISE, "entries"),
                (ID_BY_COUNTRY, "copy"),
                (ID_BY_COUNTRY, "sweep"),
                (ID_INDEX, "entries"),
            ],
            wait: Duration::from_millis(150),
        }
    }

    /// Whether to kill the server in the next request.
    pub(super) fn is_due(&self, id: &str, progress: &Progress) -> bool {
        progress.is_under_way() && self.due.contains(&(id, progress.phase.as_str()))
    }

    pub(super) fn done(&mut self, id: &str, phase: &str) {
        self.due.retain(|due| *due != (id, phase));
    }

    /// The request was answered first.
    pub(super) fn be_faster(&mut self) {
        self.wait /= 2;
    }
}
