//! One step of a run or a rollback, by whoever has the right to it.

use std::sync::{Arc, PoisonError};

use super::fenced::Fenced;
use super::journal::Journal;
use super::lease::{Lease, Lost};
use super::taken::Taken;
use super::task::{Action, Task};
use super::{Coordinator, CoordinatorError, StorageError, TASK, adopt, ran, rows};
use crate::budget::Interrupt;
use crate::clock::iso8601;
use crate::error::reason;
use crate::kv::{Kv, Policy, Store};
use crate::ledger::{FailureRecord, Ledger, MarkerState};
use crate::report::Event;
use crate::sabotage::{self, Defect};

/// What a step works with, all of which serves it only as long as it has the lease.
pub(super) struct Step<'a, C> {
    coordinator: &'a Coordinator<C>,
    lease: &'a Arc<Lease>,
    store: Arc<dyn Store>,
    pub(super) journal: Journal,
}

impl<'a, C> Step<'a, C> {
    pub(super) fn new(coordinator: &'a Coordinator<C>, lease: &'a Arc<Lease>) -> Self {
        let store = coordinator.runner.store().clone();
        let store = Arc::new(Fenced { lease: lease.clone(), store });
        Self { coordinator, lease, store, journal: coordinator.journal(Some(lease.clone())) }
    }

    /// KV, for what the step does beside its migrations.
    pub(super) fn kv(&self) -> Kv {
        Kv::with_policy(self.store.clone(), Policy::new(self.coordinator.runner.clock().clone()))
    }

    pub(super) async fn take(&self, task: &Task) -> Taken {
        match self.try_to_take(task).await {
            Ok(taken) => taken,
            Err(error) => Taken::failed(error, task.migration.clone()),
        }
    }

    async fn try_to_take(&self, task: &Task) -> Result<Taken, CoordinatorError> {
        let Coordinator { runner, context, interrupt, .. } = self.coordinator;
        let end = Interrupt::default();
        interrupt.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&end);
        self.adopt().await?;
        let context = context().map_err(|error| CoordinatorError::Context(reason(&*error)))?;
        let is_stale = sabotage::is_on(Defect::StaleLedger);
        let markers = (!is_stale).then(|| Arc::new(self.journal.clone()) as Arc<dyn Store>);
        let runner = runner.for_step(self.store.clone(), markers, end);
        Ok(match &task.action {
            Action::Migrate => {
                let observer = |event: &Event| self.observe(event);
                Taken::of_run(runner.run_pending_observed(&context, &observer).await)
            }
            Action::Rollback { id } => {
                self.note_begun(id)?;
                Taken::of_rollback(id, runner.rollback(id, &context).await, task.is_begun)
            }
        })
    }

    /// Has the status say that a migration failed that could not say so itself; where it had got is kept.
    pub(super) async fn mark_failed(&self, task: &Task, error: &CoordinatorError) {
        let Some(id) = &task.migration else { return };
        let ledger = self.coordinator.ledger(Some(self.lease.clone()));
        let (at, reason) = (iso8601(self.coordinator.now()), error.to_string());
        let failed = FailureRecord { at: &at, reason: &reason };
        let found = ledger.state_of(id).await;
        let checkpoint = match &found {
            Ok(MarkerState::Unfinished(checkpoint)) => Some(checkpoint),
            _ => None,
        };
        // The history says it in any case.
        ledger.record_failed(id, &failed, checkpoint).await.ok();
    }

    /// What was applied without the object is not applied again.
    async fn adopt(&self) -> Result<(), CoordinatorError> {
        let registered = self.coordinator.runner.registered();
        let ledger = Ledger::new(self.kv(), self.coordinator.runner.service());
        let changes = adopt::adopt(&ledger, registered.ids(), &self.journal).await?;
        match self.lease.write(changes) {
            // That it was superseded ends the step.
            Ok(()) | Err(Lost::Superseded) => Ok(()),
            Err(Lost::Storage(error)) => Err(error.into()),
        }
    }

    /// Notes that there is something to roll back: if a step is cut off when that is done, the next one must not take it
    /// for a mistake that nothing is there any more.
    fn note_begun(&self, id: &str) -> Result<(), StorageError> {
        let key = self.coordinator.ledger(None).key(id);
        let is_there = self.journal.kept(&key)?.is_some_and(|kept| kept.can_be_undone());
        if let (true, Some(task)) = (is_there, self.coordinator.task()?) {
            // That it was superseded is seen by the next operation.
            self.lease.write(vec![rows::put(TASK, &Task { is_begun: true, ..task })]).ok();
        }
        Ok(())
    }

    /// Notes what the step does, so that it is known even if the step is cut off. A step that cannot is over.
    fn observe(&self, event: &Event) {
        if self.note(event).is_err() {
            self.lease.abandon();
        }
        self.coordinator.tell(event);
    }

    fn note(&self, event: &Event) -> Result<(), Lost> {
        let mut changes = Vec::new();
        let Some(mut task) = self.coordinator.task().map_err(Lost::Storage)? else { return Ok(()) };
        match event {
            Event::Started { id, .. } => task.at(Some(id.clone())),
            Event::Applied(detail) => {
                changes.push(ran::add(task.ran, detail));
                task.ran += 1;
            }
            _ => return Ok(()),
        }
        changes.push(rows::put(TASK, &task));
        self.lease.write(changes)
    }
}
