//! On what terms operations are sent: tried again, counted, a few at once, and only while the run that they belong to
//! goes on and has something left of its budget.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use super::{Answer, Connections, Counter, KvError, KvErrorKind, Refusals, Request, Store, limits};
use crate::budget::Spending;
use crate::clock::Clock;
use crate::lock::Claim;

/// The terms of a run, or of none. Clones share the count, the connections and the budget.
#[derive(Clone)]
pub(crate) struct Terms {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counter: Counter,
    pub(crate) refusals: Refusals,
    connections: Connections,
    /// The right to run, without which nothing is sent; none where no run is needed.
    claim: Option<Weak<Claim>>,
    /// What may be used up; none for what records how far a run got.
    spending: Option<Spending>,
}

impl Terms {
    /// For operations that belong to no run.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            counter: Counter::default(),
            refusals: Refusals::default(),
            connections: Connections::new(limits::MAX_CONNECTIONS),
            claim: None,
            spending: None,
        }
    }

    /// For the operations of the run that has this claim, while it has it.
    pub(crate) fn of_run(clock: Arc<dyn Clock>, claim: &Arc<Claim>) -> Self {
        Self { claim: Some(Arc::downgrade(claim)), ..Self::new(clock) }
    }

    /// The same with a connection beside the others: for what must not wait for them.
    pub(crate) fn beside(&self) -> Self {
        Self { connections: Connections::new(1), ..self.clone() }
    }

    /// The same, as far as the budget goes.
    pub(crate) fn within(&self, spending: &Spending) -> Self {
        Self { spending: Some(spending.clone()), ..self.clone() }
    }

    /// Counts one more operation, if it may be sent.
    fn admit(&self) -> Result<(), KvErrorKind> {
        if self.spending.as_ref().is_some_and(|spending| !spending.take()) {
            return Err(KvErrorKind::OverBudget);
        }
        let has_right = |claim: &Weak<Claim>| claim.upgrade().is_some_and(|claim| claim.renew());
        if !self.claim.as_ref().is_none_or(has_right) {
            return Err(KvErrorKind::Superseded);
        }
        self.counter.add();
        Ok(())
    }
}

/// How many seconds to wait before each further try. KV takes one write a second to a key, so less than a second is no use.
const WAITS: [u64; 4] = [1, 2, 4, 8];

/// A store, on terms. One decorator, and not one for each of them: every layer of futures is more code in every user's
/// wasm.
pub(crate) struct OnTerms {
    pub(super) terms: Terms,
    pub(super) store: Arc<dyn Store>,
}

impl OnTerms {
    /// Tries once, as soon as a connection is free. What is tried again is counted again, and needs the right again.
    async fn send(&self, request: Request<'_>) -> Result<Answer, KvError> {
        let _connection = self.terms.connections.take().await;
        let admitted = self.terms.admit();
        admitted.map_err(|kind| KvError::new(request.operation(), request.key(), kind))?;
        self.store.call(request).await
    }
}

impl Store for OnTerms {
    /// Makes up to four further tries, over 15 seconds, when something failed for a moment: a second write to a key
    /// within a second (429), an error at the store. Repeating an operation that took effect although it failed does
    /// the same again, over what others may have written meanwhile: so can any write in KV.
    fn call<'a>(&'a self, request: Request<'a>) -> LocalBoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(async move {
            let mut waits = WAITS.iter();
            loop {
                match (self.send(request).await, waits.next()) {
                    (Err(error), Some(seconds)) if error.is_retryable() => {
                        self.terms.refusals.add(error);
                        self.terms.clock.sleep(Duration::from_secs(*seconds)).await;
                    }
                    (result, _) => return result,
                }
            }
        })
    }
}
