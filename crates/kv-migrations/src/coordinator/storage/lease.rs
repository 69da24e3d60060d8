//! The right to run, kept in a row: at most one of several instances of an object has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{Allowance, RowChange, Storage, StorageError, rows};
use crate::clock::{Clock, at_milliseconds, between, milliseconds};
use crate::kv::{KvError, KvErrorKind, Request};
use crate::sabotage::{self, Defect};

const ROW: &str = "lease";
/// How long a lease lasts without renewal. The next step waits as long: by then, an operation that the step before had
/// sent has arrived, and the clocks of two machines differ by less.
const TERM: Duration = Duration::from_secs(15);
/// How old the last renewal may be when an operation is sent.
const RENEW_AFTER: Duration = Duration::from_secs(1);

/// The lease, as all instances see it.
#[derive(Serialize, Deserialize)]
struct LeaseRow {
    /// One more each time that the lease is taken. The step with the epoch before has lost it.
    epoch: u64,
    /// Milliseconds since 1970.
    renewed: u64,
    is_held: bool,
}

/// The lease of one step.
pub(crate) struct Lease {
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    epoch: u64,
    /// Milliseconds since 1970.
    renewed: AtomicU64,
    is_lost: AtomicBool,
    /// The writes that the step may make. `None` for any number.
    pub(super) allowance: Option<Allowance>,
}

/// Why nothing was written.
pub(crate) enum LeaseError {
    /// Another step has the lease, or had it since.
    Superseded,
    Storage(StorageError),
}

/// Whether it was written: not if the lease was lost, which ends the step that had it.
pub(crate) fn is_written(result: Result<(), LeaseError>) -> Result<bool, StorageError> {
    match result {
        Ok(()) => Ok(true),
        Err(LeaseError::Superseded) => Ok(false),
        Err(LeaseError::Storage(error)) => Err(error),
    }
}

/// The error of an operation that is not sent because the lease was lost.
pub(crate) fn superseded(request: Request<'_>) -> KvError {
    KvError::new(request.operation(), request.key(), KvErrorKind::Superseded)
}

/// When the lease expires, if a step holds it.
pub(crate) fn held_until(storage: &dyn Storage, now: SystemTime) -> Result<Option<SystemTime>, StorageError> {
    let Some(row) = rows::read::<LeaseRow>(storage, ROW)?.filter(|row| row.is_held) else { return Ok(None) };
    let renewed = at_milliseconds(row.renewed);
    if renewed > now {
        // A clock that was ahead must not extend the lease: from now on, the term counts by this clock.
        storage.write(&[rows::put(ROW, &LeaseRow { renewed: milliseconds(now), ..row })])?;
        return Ok(Some(now + TERM));
    }
    let is_expired = between(renewed, now) >= TERM;
    Ok((!is_expired).then(|| renewed + TERM))
}

/// The change that takes an expired lease from its step, in case that step still runs. Nobody holds the lease then.
pub(crate) fn revoke(storage: &dyn Storage) -> Result<Option<RowChange>, StorageError> {
    let row = rows::read::<LeaseRow>(storage, ROW)?;
    Ok(row.map(|row| rows::put(ROW, &LeaseRow { epoch: row.epoch.wrapping_add(1), is_held: false, ..row })))
}

/// The change that replaces the row if it cannot be read. A step may hold the lease: it loses it, by an epoch that was
/// never used, and the next one waits as before.
pub(crate) fn without_unreadable(
    storage: &dyn Storage,
    now: SystemTime,
) -> Result<Option<RowChange>, StorageError> {
    let unreadable = rows::delete_unreadable::<LeaseRow>(storage, ROW)?;
    let renewed = milliseconds(now);
    Ok(unreadable.map(|_| rows::put(ROW, &LeaseRow { epoch: renewed, renewed, is_held: true })))
}

impl Lease {
    /// Takes the lease, which must not be held.
    pub(crate) fn take(
        storage: &Arc<dyn Storage>,
        clock: &Arc<dyn Clock>,
        allowance: Option<Allowance>,
    ) -> Result<Self, StorageError> {
        let before = rows::read::<LeaseRow>(&**storage, ROW)?;
        let lease = Self {
            storage: storage.clone(),
            clock: clock.clone(),
            epoch: before.map_or(0, |row| row.epoch).wrapping_add(1),
            renewed: AtomicU64::new(0),
            is_lost: AtomicBool::new(false),
            allowance,
        };
        lease.hold(Vec::new())?;
        Ok(lease)
    }

    /// Renews the lease, unless that was done a moment ago. Called before each operation that changes something
    /// outside.
    pub(crate) fn renew(&self) -> Result<(), LeaseError> {
        let renewed = at_milliseconds(self.renewed.load(Ordering::Relaxed));
        let now = self.clock.now();
        let is_fresh = renewed <= now && between(renewed, now) < RENEW_AFTER;
        if is_fresh && !self.is_lost() { Ok(()) } else { self.write(Vec::new()) }
    }

    /// Writes rows, and renews the lease with them.
    pub(crate) fn write(&self, changes: Vec<RowChange>) -> Result<(), LeaseError> {
        self.check()?;
        self.hold(changes).map_err(|error| self.lose(LeaseError::Storage(error)))
    }

    /// Writes rows, and gives the lease back with them.
    pub(crate) fn release(&self, mut changes: Vec<RowChange>) -> Result<(), LeaseError> {
        self.check()?;
        self.abandon();
        let renewed = milliseconds(self.clock.now());
        changes.push(rows::put(ROW, &LeaseRow { epoch: self.epoch, renewed, is_held: false }));
        changes.extend(self.allowance.as_ref().and_then(Allowance::change));
        self.storage.write(&changes).map_err(LeaseError::Storage)
    }

    /// Stops using the lease without giving it back: an operation that was sent may still be on its way.
    pub(crate) fn abandon(&self) {
        self.is_lost.store(true, Ordering::Relaxed);
    }

    /// Whether another step was found to have it, or it was given back or abandoned.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }

    fn check(&self) -> Result<(), LeaseError> {
        if sabotage::is_on(Defect::NoFencing) {
            return Ok(());
        }
        if self.is_lost() {
            return Err(LeaseError::Superseded);
        }
        let row = rows::read::<LeaseRow>(&*self.storage, ROW)
            .map_err(|error| self.lose(LeaseError::Storage(error)))?;
        let is_ours = row.is_some_and(|row| row.epoch == self.epoch && row.is_held);
        if is_ours { Ok(()) } else { Err(self.lose(LeaseError::Superseded)) }
    }

    fn lose(&self, error: LeaseError) -> LeaseError {
        self.abandon();
        error
    }

    /// Sets the alarm to when the lease expires: if this instance ends here, the alarm starts the next step.
    fn hold(&self, mut changes: Vec<RowChange>) -> Result<(), StorageError> {
        let now = self.clock.now();
        let renewed = milliseconds(now);
        changes.push(RowChange::alarm(now + TERM));
        changes.push(rows::put(ROW, &LeaseRow { epoch: self.epoch, renewed, is_held: true }));
        changes.extend(self.allowance.as_ref().and_then(Allowance::change));
        self.storage.write(&changes)?;
        self.renewed.store(renewed, Ordering::Relaxed);
        Ok(())
    }
}
