//! What an `up` or a `down` is to the runner, whether it is done in one go or over many requests.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use crate::job::Job;
use crate::kv::Kv;
use crate::migration::Result;
use crate::report::FailedEntry;

/// A change to the data of a service.
pub(crate) trait Change<C>: Send + Sync {
    /// Makes it, or as much of it as the job's budget allows.
    fn run<'a>(&'a self, job: &'a Job<'a>, context: &'a C) -> LocalBoxFuture<'a, Result<Outcome>>;

    /// Whether it can be carried on by another request.
    fn is_resumable(&self) -> bool;
}

/// Any of them.
pub(crate) type BoxChange<C> = Box<dyn Change<C>>;

/// How far a change has got.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is made, but for these entries, without which it was told to do.
    Done(Vec<FailedEntry>),
    /// Another run made it meanwhile.
    AlreadyApplied,
    /// It is to be carried on, from its checkpoint, not sooner than after this time.
    Paused { retry_after: Duration },
    /// It could not get any further within what was left of the budget. With a whole budget it may; if not, this is
    /// why.
    OverBudget { reason: String },
}

impl<C, F: AsyncFn(&Kv, &C) -> Result + Send + Sync> Change<C> for F {
    fn run<'a>(&'a self, job: &'a Job<'a>, context: &'a C) -> LocalBoxFuture<'a, Result<Outcome>> {
        Box::pin(async move {
            job.announce_turn().await?;
            let result = self(job.kv(), context).await;
            // Whatever it made of that: what was to be written was not.
            if job.is_overdrawn() {
                let what = "it needs more than";
                return Ok(Outcome::OverBudget { reason: job.over_budget(what, "make it a backfill") });
            }
            result.map(|()| Outcome::Done(Vec::new()))
        })
    }

    fn is_resumable(&self) -> bool {
        false
    }
}
