//! On what terms operations are sent: tried again, counted, and only while the run that they belong to goes on.

use std::sync::{Arc, Weak};

use super::{Counted, Counter, Retried, Store};
use crate::clock::Clock;
use crate::lock::{Claim, Claimed};

/// The terms of a run, or of none. Clones share the count.
#[derive(Clone)]
pub(crate) struct Terms {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counter: Counter,
    /// The right to run, without which nothing is sent; none where no run is needed.
    claim: Option<Weak<Claim>>,
}

impl Terms {
    /// For operations that belong to no run.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, counter: Counter::default(), claim: None }
    }

    /// For the operations of the run that has this claim, while it has it.
    pub(crate) fn of_run(clock: Arc<dyn Clock>, claim: &Arc<Claim>) -> Self {
        Self { claim: Some(Arc::downgrade(claim)), ..Self::new(clock) }
    }

    /// The store, on these terms. What is tried again is counted again, and needs the right again.
    pub(crate) fn apply(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        let mut store: Arc<dyn Store> = Arc::new(Counted { counter: self.counter.clone(), store });
        if let Some(claim) = self.claim.clone() {
            store = Arc::new(Claimed { claim, store });
        }
        Arc::new(Retried { clock: self.clock.clone(), store })
    }
}
