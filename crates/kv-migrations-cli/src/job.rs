//! What is asked of a service, and when it is done.

use std::time::Duration;

use crate::http::Request;

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) request: Request,
    pub(crate) wait: Wait,
    /// Whether it does the same when it is sent twice.
    pub(crate) is_repeatable: bool,
    /// Whether 202 is the end of it: something is about to stop.
    pub(crate) ends_unfinished: bool,
    /// The problem that says that it is done, if the answer before was lost.
    pub(crate) done_by: Option<&'static str>,
    /// How long it waits for the release that it expects.
    pub(crate) release_patience: Option<Duration>,
}

impl Job {
    /// A request that is done by one answer.
    pub(crate) fn new(request: Request) -> Self {
        Self {
            request,
            wait: Wait::Never,
            is_repeatable: true,
            ends_unfinished: false,
            done_by: None,
            release_patience: None,
        }
    }
}

/// Whether it waits for a run that is in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Never,
    /// For its own, whose answer was lost.
    ForOwn,
    /// For that of anybody.
    ForAny,
}

/// Whether a Durable Object coordinates the runs of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coordination {
    Unknown,
    Coordinated,
    /// Each request runs by itself, and none continues without the next.
    None,
}
