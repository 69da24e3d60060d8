//! A closure as a change: it runs in one request.

use super::contract::{Change, Outcome};
use super::job::Job;
use crate::error::Result;
use crate::future::BoxFuture;
use crate::kv::Kv;
use crate::session::Session;

impl<C, F: AsyncFn(&Kv, &C) -> Result + Send + Sync> Change<C> for F {
    fn run<'a>(&'a self, job: &'a mut Job<'_>, context: &'a C) -> BoxFuture<'a, Result<Outcome>> {
        // Every closure has this code of its own.
        Box::pin(async move {
            job.begin_closure().await?;
            let result = self(&job.session().kv, context).await;
            outcome(job.session(), result)
        })
    }

    fn is_resumable(&self) -> bool {
        false
    }
}

/// What a closure came to that returned this.
fn outcome(session: &Session<'_>, result: Result) -> Result<Outcome> {
    // Whatever the closure made of it, an operation was refused.
    if session.meter.is_overdrawn() {
        let reason = session.over_budget("it needs more than", "make it a backfill");
        return Ok(Outcome::OverBudget { reason });
    }
    result.map(|()| Outcome::Done(Vec::new()))
}
