//! A change that takes more than one request, and carries on from its checkpoint.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::change::{Change, NEXT_REQUEST, Outcome};
use crate::job::{Job, Load};
use crate::migration::Result;
use crate::report::FailedEntry;

/// What differs between such changes.
pub(crate) trait Resumable<C>: Send + Sync {
    /// What a checkpoint keeps.
    type State: Serialize + DeserializeOwned;

    /// What it is, and which prefix it goes over: a checkpoint of anything else is not read.
    fn name(&self) -> String;

    /// How it begins. Tells the job what it does first.
    fn begin(&self, job: &Job<'_>) -> Self::State;

    /// Gets as far as the budget allows. The state says how far, also if it fails.
    async fn advance(&self, job: &Job<'_>, context: &C, state: &mut Self::State) -> Result<Advance>;
}

/// How far it got.
pub(crate) enum Advance {
    /// To the end, but for these entries.
    Done(Vec<FailedEntry>),
    /// As far as the budget goes.
    Paused,
    /// To where it has to wait; its checkpoint says so already.
    Waits(Duration),
    /// Nowhere: the budget does not suffice for what it would do, so something else is to be done.
    Stuck { what: &'static str, instead: &'static str },
}

/// As a [`Change`].
pub(crate) struct Long<R>(pub(crate) R);

impl<C, R: Resumable<C>> Change<C> for Long<R> {
    fn run<'a>(&'a self, job: &'a Job<'a>, context: &'a C) -> LocalBoxFuture<'a, Result<Outcome>> {
        Box::pin(async move {
            let mut state = match job.load(self.0.name()).await? {
                Load::AlreadyApplied => return Ok(Outcome::AlreadyApplied),
                Load::From(state) => state,
                Load::Fresh => {
                    let state = self.0.begin(job);
                    job.announce(&state).await?;
                    state
                }
            };
            match self.0.advance(job, context, &mut state).await {
                Ok(Advance::Done(failed_entries)) => Ok(Outcome::Done(failed_entries)),
                Ok(Advance::Waits(retry_after)) => Ok(Outcome::Paused { retry_after }),
                Ok(Advance::Paused) => {
                    job.save(&state).await?;
                    Ok(Outcome::Paused { retry_after: NEXT_REQUEST })
                }
                Ok(Advance::Stuck { what, instead }) => {
                    job.stash(&state);
                    Ok(Outcome::OverBudget { reason: job.over_budget(what, instead) })
                }
                Err(error) => {
                    job.stash(&state);
                    Err(error)
                }
            }
        })
    }

    fn is_resumable(&self) -> bool {
        true
    }
}
