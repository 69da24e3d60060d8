//! A closure as a change: it runs in one request.

use super::contract::{Change, Outcome};
use super::job::Job;
use crate::error::Result;
use crate::future::BoxFuture;
use crate::kv::Kv;

impl<C, F: AsyncFn(&Kv, &C) -> Result + Send + Sync> Change<C> for F {
    fn run<'a>(&'a self, job: &'a mut Job<'_>, context: &'a C) -> BoxFuture<'a, Result<Outcome>> {
        Box::pin(async move {
            job.announce_turn().await?;
            let session = job.session();
            session.meter.set_reserve(false);
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
