//! What a step works with. All of it stops working when the lease is lost.

use std::sync::Arc;

use crate::coordinator::object::Coordinator;
use crate::coordinator::storage::journal::Journal;
use crate::coordinator::storage::{FencedStore, Lease};
use crate::kv::{Kv, Policy, Store};

pub(crate) struct Step<'a, C> {
    pub(super) coordinator: &'a Coordinator<C>,
    pub(super) lease: &'a Arc<Lease>,
    pub(super) store: Arc<dyn Store>,
    pub(crate) journal: Journal,
}

impl<'a, C> Step<'a, C> {
    /// A step of the task with this number; without one, a step that only copies markers.
    pub(crate) fn new(coordinator: &'a Coordinator<C>, lease: &'a Arc<Lease>, task: Option<u64>) -> Self {
        let store = coordinator.runner.store().clone();
        let store = Arc::new(FencedStore { lease: lease.clone(), store });
        Self { coordinator, lease, store, journal: coordinator.records.journal_for(lease, task) }
    }

    /// KV, for what the step does beside its migrations.
    pub(crate) fn kv(&self) -> Kv {
        Kv::with_policy(self.store.clone(), Policy::new(self.coordinator.records.clock.clone(), None))
    }
}
