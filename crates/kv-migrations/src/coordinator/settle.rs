//! What follows on a step: how its task goes on is written down, and those who wait are answered.

use std::time::SystemTime;

use super::lease::{Lease, Lost};
use super::request::{Answer, Report};
use super::task::{Task, Turn};
use super::{
    Change, Coordinator, CoordinatorError, HistoryEntry, Outcome, StorageError, TASK, history, mirror, ran,
    rows,
};
use crate::clock::iso8601;

impl<C> Coordinator<C> {
    /// The same as [`settle`](Self::settle) for a task that was asked to stop.
    pub(super) fn settle_stopped(&self, lease: &Lease, task: &Task, turn: Turn) -> Result<(), StorageError> {
        let why = match turn {
            Turn::Over(_) => CoordinatorError::Cancelled { id: task.migration.clone() },
            _ => CoordinatorError::Paused(Box::new(task.activity())),
        };
        self.settle(lease, task, turn, Err(why))
    }

    /// Writes down how a task goes on, gives back the lease, and answers those who wait.
    pub(super) fn settle(
        &self,
        lease: &Lease,
        task: &Task,
        turn: Turn,
        result: Result<Report, CoordinatorError>,
    ) -> Result<(), StorageError> {
        let mut changes = match turn {
            Turn::Alarm(_) | Turn::Paused => vec![rows::put(TASK, task)],
            Turn::Over(outcome) => {
                let mut changes = self.remember(task, outcome)?;
                changes.push(rows::delete(TASK));
                changes
            }
        };
        let due = match turn {
            Turn::Alarm(at) => Some(at),
            Turn::Paused | Turn::Over(_) => None,
        };
        let mut wake = self.wake_at(due)?;
        if turn == Turn::Over(Outcome::Cancelled) {
            let forgotten = self.forget_checkpoint(task)?;
            if !forgotten.is_empty() {
                // For KV to hear of it.
                wake = Some(self.now());
            }
            changes.extend(forgotten);
        }
        changes.push(Change::Alarm(wake));
        match lease.release(changes) {
            Ok(()) => {}
            Err(Lost::Superseded) => return Ok(()),
            Err(Lost::Storage(error)) => return Err(error),
        }
        let is_over = !matches!(turn, Turn::Alarm(_));
        self.answer(Answer { number: task.number, is_over, result });
        self.bell.ring();
        Ok(())
    }

    /// What moves a task that is over into the history.
    pub(super) fn remember(&self, task: &Task, outcome: Outcome) -> Result<Vec<Change>, StorageError> {
        let entry = HistoryEntry::new(&*self.storage, task, outcome, Some(iso8601(self.now())))?;
        let mut changes = history::keep(&entry, &*self.storage)?;
        changes.extend(ran::clear(&*self.storage)?);
        Ok(changes)
    }

    /// What makes a migration that was under way pending again.
    fn forget_checkpoint(&self, task: &Task) -> Result<Vec<Change>, StorageError> {
        let Some(id) = &task.migration else { return Ok(Vec::new()) };
        self.journal(None).forget_checkpoint(&self.ledger(None).key(id))
    }

    /// Gives back the lease, with nothing to be written down.
    pub(super) fn rest(&self, lease: &Lease) -> Result<(), StorageError> {
        let due = self.task()?.and_then(|task| task.due());
        match lease.release(vec![Change::Alarm(self.wake_at(due)?)]) {
            Ok(()) | Err(Lost::Superseded) => Ok(()),
            Err(Lost::Storage(error)) => Err(error),
        }
    }

    /// When the next alarm is needed: for the task, or for markers that are still to be copied.
    pub(super) fn wake_at(&self, due: Option<SystemTime>) -> Result<Option<SystemTime>, StorageError> {
        if self.journal(None).unmirrored()?.is_empty() {
            return Ok(due);
        }
        let again = mirror::due(&*self.storage)?;
        Ok(Some(due.map_or(again, |due| due.min(again))))
    }
}
