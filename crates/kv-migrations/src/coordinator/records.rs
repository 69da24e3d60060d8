//! What one object has written down, read by its clock: the task in progress, its lease, the markers and the alarm.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::error::CoordinatorError;
use super::observer::JournalObserver;
use super::report::{HistoryEntry, RunOutcome};
use super::storage::journal::{Journal, Writer};
use super::storage::{
    Allowance, Lease, RowChange, Storage, StorageError, allowance, applied, asked, history, lease, mirror,
    rows,
};
use super::task::{Findings, Task};
use crate::clock::{Clock, between, iso8601};
use crate::kv::{Kv, Policy};
use crate::ledger::{Ledger, Markers};

/// KV takes one write a second to a key. Steps follow each other faster.
const COPY_INTERVAL: Duration = Duration::from_secs(1);

const TASK: &str = "task";
/// Whether markers were adopted from KV before the first answer.
const ADOPTED: &str = "adopted";
/// The number of the latest task.
const NUMBER: &str = "number";

/// The rows of one object, and what it takes to read them.
pub(super) struct Records {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) service: String,
    pub(super) observer: JournalObserver,
    pub(super) writes_per_day: Option<u64>,
    /// When the task in progress copied markers last.
    copied: Mutex<Option<SystemTime>>,
}

impl Records {
    pub(super) fn new(storage: Arc<dyn Storage>, clock: Arc<dyn Clock>, service: String) -> Self {
        let (observer, copied) = (JournalObserver::default(), Mutex::default());
        Self { storage, clock, service, observer, writes_per_day: None, copied }
    }

    pub(super) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// The task in progress, or the one that is paused.
    pub(super) fn task(&self) -> Result<Option<Task>, StorageError> {
        let task: Option<Task> = rows::read(&*self.storage, TASK)?;
        Ok(task.map(|task| task.with_possible_times(self.now())))
    }

    /// The number of the latest task; 0 if there was none.
    pub(super) fn latest_number(&self) -> Result<u64, StorageError> {
        Ok(rows::read(&*self.storage, NUMBER)?.unwrap_or_default())
    }

    pub(super) fn next_number(&self) -> Result<u64, StorageError> {
        Ok(self.latest_number()?.wrapping_add(1))
    }

    /// The changes that begin a task.
    pub(super) fn begin(&self, task: &Task) -> [RowChange; 3] {
        [put_number(task.number), put_task(task), RowChange::alarm(self.now())]
    }

    /// The changes that end a task and move it into the history.
    pub(super) fn end(
        &self,
        task: &Task,
        outcome: RunOutcome,
        findings: Findings,
    ) -> Result<Vec<RowChange>, StorageError> {
        let ended_at = Some(iso8601(self.now()));
        let entry = task.history_entry(outcome, ended_at, applied::read(&*self.storage)?, findings);
        let mut changes = history::add(&*self.storage, entry)?;
        changes.extend(applied::clear(&*self.storage)?);
        changes.push(RowChange::delete(TASK));
        Ok(changes)
    }

    /// The entry of a task that is not over.
    pub(super) fn history_entry(&self, task: &Task) -> Result<HistoryEntry, StorageError> {
        let applied = applied::read(&*self.storage)?;
        Ok(task.history_entry(task.outcome(), None, applied, Findings::default()))
    }

    /// The markers, for reading.
    pub(super) fn journal(&self) -> Journal {
        let (storage, clock) = (self.storage.clone(), self.clock.clone());
        Journal { storage, clock, observer: self.observer.clone(), writer: None, failure: Arc::default() }
    }

    /// The markers, for a step that belongs to this task.
    pub(super) fn journal_for(&self, lease: &Arc<Lease>, task: Option<u64>) -> Journal {
        Journal { writer: Some(Writer { lease: lease.clone(), task }), ..self.journal() }
    }

    pub(super) fn ledger(&self, journal: Journal) -> Ledger {
        let kv = Kv::with_policy(Arc::new(journal), Policy::new(self.clock.clone(), None));
        Ledger::for_journal(kv, &self.service)
    }

    /// Loads the markers of the journal.
    pub(super) async fn load_from<'a>(
        &self,
        journal: &Journal,
        registered: impl Iterator<Item = &'a str>,
    ) -> Result<Markers, CoordinatorError> {
        let markers = self.ledger(journal.clone()).load(registered).await;
        markers.map_err(|error| journal.take_failure().map_or_else(|| error.into(), Into::into))
    }

    /// The changes that remove, or replace, the rows that cannot be read and belong to no migration.
    pub(super) fn without_unreadable(&self) -> Result<Vec<RowChange>, StorageError> {
        let storage = &*self.storage;
        let mut changes = Vec::new();
        changes.extend(rows::delete_unreadable::<Task>(storage, TASK)?);
        if rows::delete_unreadable::<u64>(storage, NUMBER)?.is_some() {
            let task = self.task().ok().flatten().map_or(0, |task| task.number);
            changes.push(put_number(history::last_number(storage)?.max(task)));
        }
        changes.extend(rows::delete_unreadable::<bool>(storage, ADOPTED)?);
        changes.extend(lease::without_unreadable(storage, self.now())?);
        changes.extend(mirror::without_unreadable(storage)?);
        let note = self.rollback_note_key();
        if !self.journal().is_readable(&note)? {
            changes.extend(self.journal().replace(&note, None));
        }
        changes.extend(allowance::without_unreadable(storage)?);
        changes.extend(asked::without_unreadable(storage)?);
        changes.extend(applied::without_unreadable(storage)?);
        changes.extend(history::without_unreadable(storage)?);
        Ok(changes)
    }

    /// Whether markers were adopted from KV before the first answer.
    pub(super) fn has_adopted(&self) -> Result<bool, StorageError> {
        Ok(rows::read::<bool>(&*self.storage, ADOPTED)?.is_some())
    }

    /// The key of a migration's marker.
    pub(super) fn marker_key(&self, id: &str) -> String {
        self.ledger(self.journal()).key(id)
    }

    /// The key of the note that several migrations are being rolled back.
    pub(super) fn rollback_note_key(&self) -> String {
        self.ledger(self.journal()).rollback_note_key()
    }

    /// Takes the lease. Only when no step is under way.
    pub(super) fn take_lease(&self) -> Result<Lease, StorageError> {
        let load = |max| Allowance::load(&*self.storage, &self.clock, max);
        let allowance = self.writes_per_day.map(load).transpose()?;
        Lease::take(&self.storage, &self.clock, allowance)
    }

    /// Whether a step is under way, here or in another instance.
    pub(super) fn is_stepping(&self) -> Result<bool, StorageError> {
        Ok(lease::held_until(&*self.storage, self.now())?.is_some())
    }

    /// Whether a step of this task is under way, and not one that only copies markers.
    pub(super) fn is_running(&self, task: &Task) -> Result<bool, StorageError> {
        Ok(task.due().is_some_and(|due| due <= self.now()) && self.is_stepping()?)
    }

    /// When the next alarm is needed: for a task that is due then, or for markers that are still to be copied.
    pub(super) fn alarm_at(
        &self,
        due: Option<SystemTime>,
        now: SystemTime,
    ) -> Result<Option<SystemTime>, StorageError> {
        let copies = if self.journal().unmirrored()?.is_empty() {
            None
        } else {
            Some(mirror::due(&*self.storage, now)?.max(now + self.copy_pause()))
        };
        let next = due.into_iter().chain(copies).min();
        // What is overdue is due now: the runtime takes no alarm at 1970.
        Ok(next.map(|next| next.max(now)))
    }

    /// How long KV takes no other copy of a marker that was copied just now.
    pub(super) fn copy_pause(&self) -> Duration {
        let copied = *self.copied.lock().unwrap_or_else(PoisonError::into_inner);
        let left = |copied| COPY_INTERVAL.saturating_sub(between(copied, self.now()));
        copied.map_or(Duration::ZERO, left)
    }

    pub(super) fn note_copied(&self, at: Option<SystemTime>) {
        *self.copied.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// Sets the alarm if something is due: an alarm that got lost is set again by the next request.
    pub(super) fn set_lost_alarm(&self) -> Result<(), StorageError> {
        let now = self.now();
        let due = self.alarm_at(self.task()?.and_then(|task| task.due()), now)?;
        if due.is_some_and(|due| due <= now) && !self.is_stepping()? {
            self.storage.write(&[RowChange::alarm(now)])?;
        }
        Ok(())
    }
}

/// The change that notes the number of the latest task.
pub(super) fn put_number(number: u64) -> RowChange {
    rows::put(NUMBER, &number)
}

/// The change that notes that markers were adopted.
pub(super) fn put_adopted() -> RowChange {
    rows::put(ADOPTED, &true)
}

/// The change that writes the row of a task.
pub(super) fn put_task(task: &Task) -> RowChange {
    rows::put(TASK, task)
}
