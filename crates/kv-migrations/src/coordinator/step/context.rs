//! What a step works with. All of it stops working when the lease is lost.

use std::sync::Arc;

use crate::coordinator::object::Coordinator;
use crate::coordinator::storage::journal::Journal;
use crate::coordinator::storage::{Fence, FencedStore, Lease, Purpose};
use crate::kv::{Kv, Namespaces, Policy};

pub(crate) struct Step<'a, C> {
    pub(super) coordinator: &'a Coordinator<C>,
    pub(super) lease: &'a Arc<Lease>,
    pub(crate) journal: Journal,
}

impl<'a, C> Step<'a, C> {
    /// A step of the task with this number; without one, a step that only copies markers.
    pub(crate) fn new(coordinator: &'a Coordinator<C>, lease: &'a Arc<Lease>, task: Option<u64>) -> Self {
        Self { coordinator, lease, journal: coordinator.records.journal_for(lease, task) }
    }

    /// What stands in front of each namespace that the migrations work on.
    pub(super) fn fence(&self) -> Arc<dyn Namespaces> {
        Arc::new(Fence(self.lease.clone()))
    }

    /// KV, for the markers.
    pub(crate) fn kv(&self) -> Kv {
        let (lease, store) = (self.lease.clone(), self.coordinator.runner.store().clone());
        let store = Arc::new(FencedStore { lease, store, purpose: Purpose::Markers });
        Kv::with_policy(store, Policy::new(self.coordinator.records.clock.clone(), None))
    }
}
