//! A closure as a change: it runs in one request.

use super::contract::{Change, Outcome};
use super::job::Job;
use crate::error::Result;
use crate::future::BoxFuture;
use crate::kv::Kv;

impl<C, F: AsyncFn(&Kv, &C) -> Result + Send + Sync> Change<C> for F {
    fn run<'a>(&'a self, job: &'a mut Job<'_>, context: &'a C) -> BoxFuture<'a, Result<Outcome>> {
        // Every closure has this code of its own.
        Box::pin(async move { self(&job.session().kv, context).await.map(|()| Outcome::Done(Vec::new())) })
    }

    fn is_resumable(&self) -> bool {
        false
    }
}

/// Runs a change, resumable or not. Compiled once, unlike what every closure has of its own.
pub(crate) async fn run_change<C>(change: &dyn Change<C>, job: &mut Job<'_>, context: &C) -> Result<Outcome> {
    let is_closure = !change.is_resumable();
    if is_closure && job.begin_closure() {
        if let Some(recorded) = job.record_last() {
            recorded.await?;
        }
        job.note_written();
    }
    let result = change.run(job, context).await;
    // Whatever the closure made of it, an operation was refused.
    let session = job.session();
    if is_closure && session.meter.is_overdrawn() {
        let reason = session.over_budget("it needs more than", "make it a backfill");
        return Ok(Outcome::OverBudget { reason });
    }
    result
}
