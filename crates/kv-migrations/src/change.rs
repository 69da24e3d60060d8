//! What an `up` or a `down` does to the data: a closure that runs in one request, or a backfill, a fold or a re-key that
//! may take many.
//!
//! A [`Change`] works on a [`Job`]: it reads and writes through the session's KV, counts its progress, and saves
//! checkpoints. `walk/` goes over the entries of a prefix; backfill, fold and re-key are loops over it. This folder uses
//! `session` and what is below it, and knows neither migrations nor runners.

mod backfill;
mod checkpoint;
mod fold;
mod job;
mod progress;
mod record;
mod rekey;
mod resumable;
mod values;
mod walk;

use std::time::Duration;

use crate::error::Result;
use crate::future::BoxFuture;
use crate::kv::Kv;
use crate::report::FailedEntry;
pub use backfill::Backfill;
pub use fold::{Fold, FoldOutput};
pub(crate) use job::Job;
pub use record::Record;
pub use rekey::{Collisions, Rekey};
pub(crate) use resumable::ResumableChange;

/// A change to the data of a service.
pub(crate) trait Change<C>: Send + Sync {
    /// Makes the change, or as much of it as the budget allows.
    fn run<'a>(&'a self, job: &'a mut Job<'_>, context: &'a C) -> BoxFuture<'a, Result<Outcome>>;

    /// Whether another request can resume it.
    fn is_resumable(&self) -> bool;
}

/// Any change.
pub(crate) type BoxChange<C> = Box<dyn Change<C>>;

/// The pause before the next request where only KV's limit of one write a second to a marker requires one.
pub(crate) const NEXT_REQUEST: Duration = Duration::from_secs(1);

/// How far a change got.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is made, except for these entries, which it was told to skip.
    Done(Vec<FailedEntry>),
    /// Another run made it in the meantime.
    AlreadyApplied,
    /// The next request resumes it from its checkpoint, after this time.
    Paused { retry_after: Duration },
    /// It could not advance within the rest of the budget. If a whole budget is not enough either, it fails for this
    /// reason.
    OverBudget { reason: String },
}

impl<C, F: AsyncFn(&Kv, &C) -> Result + Send + Sync> Change<C> for F {
    fn run<'a>(&'a self, job: &'a mut Job<'_>, context: &'a C) -> BoxFuture<'a, Result<Outcome>> {
        Box::pin(async move {
            job.announce_turn().await?;
            let session = job.session();
            let result = self(&session.kv, context).await;
            // Whatever the closure made of it, an operation was refused.
            if session.meter.is_overdrawn() {
                let reason = session.over_budget("it needs more than", "make it a backfill");
                return Ok(Outcome::OverBudget { reason });
            }
            result.map(|()| Outcome::Done(Vec::new()))
        })
    }

    fn is_resumable(&self) -> bool {
        false
    }
}
