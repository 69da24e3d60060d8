//! On what terms operations are sent: tried again, counted, a few at once, and only while the run that they belong to
//! goes on and has something left of its budget.

use std::sync::{Arc, Weak};

use super::limited::{Connections, Limited};
use super::{Counted, Counter, Refusals, Retried, Store, limits};
use crate::budget::{Budgeted, Spending};
use crate::clock::Clock;
use crate::lock::{Claim, Claimed};

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

    /// The store, on these terms. What is tried again is counted again, and needs the right again.
    pub(crate) fn apply(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        let mut store: Arc<dyn Store> = Arc::new(Counted { counter: self.counter.clone(), store });
        if let Some(claim) = self.claim.clone() {
            store = Arc::new(Claimed { claim, store });
        }
        if let Some(spending) = self.spending.clone() {
            store = Arc::new(Budgeted { spending, store });
        }
        store = Arc::new(Limited { connections: self.connections.clone(), store });
        Arc::new(Retried { clock: self.clock.clone(), refusals: self.refusals.clone(), store })
    }
}
