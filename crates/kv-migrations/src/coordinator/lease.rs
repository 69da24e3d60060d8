//! The right to run, kept in the object's storage: of two instances of one object, at most one has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{Change, Storage, StorageError, rows};
use crate::clock::{Clock, at_milliseconds, between, milliseconds};
use crate::sabotage::{self, Defect};

const ROW: &str = "lease";
/// How long a step may go without a sign of life. Whoever takes its place waits as long: an operation of the step that
/// is still on its way has arrived by then, and the clocks of two machines do not differ by as much.
pub(super) const TERM: Duration = Duration::from_secs(15);
/// How old the last renewal may be when an operation is sent.
const FRESH: Duration = Duration::from_secs(1);

/// Who has the right, as all instances see it.
#[derive(Serialize, Deserialize)]
struct Row {
    /// One more each time that it is taken: whoever took it before has lost it.
    epoch: u64,
    /// Milliseconds since 1970.
    renewed: u64,
    is_held: bool,
}

/// The right of one step, which nobody else has while it is renewed.
pub(super) struct Lease {
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    epoch: u64,
    /// Milliseconds since 1970.
    renewed: AtomicU64,
    is_lost: AtomicBool,
}

/// Why nothing was written.
pub(super) enum Lost {
    /// Another step has taken its place.
    Superseded,
    Storage(StorageError),
}

/// Until when another step has the lease, if one has it.
pub(super) fn held_until(storage: &dyn Storage, now: SystemTime) -> Result<Option<SystemTime>, StorageError> {
    let Some(row) = rows::read::<Row>(storage, ROW)?.filter(|row| row.is_held) else { return Ok(None) };
    let renewed = at_milliseconds(row.renewed);
    if renewed > now {
        // A clock that goes wrong must not keep the door shut: from now on it is counted by this one.
        storage.write(&[rows::put(ROW, &Row { renewed: milliseconds(now), ..row })])?;
        return Ok(Some(now + TERM));
    }
    let is_up = between(renewed, now) >= TERM;
    Ok((!is_up).then(|| renewed + TERM))
}

/// The change that takes it from a step whose time is up, should that wake after all, and gives it to nobody.
pub(super) fn revoke(storage: &dyn Storage) -> Result<Option<Change>, StorageError> {
    let row = rows::read::<Row>(storage, ROW)?;
    Ok(row.map(|row| rows::put(ROW, &Row { epoch: row.epoch + 1, is_held: false, ..row })))
}

impl Lease {
    /// Takes it, whoever had it before: for when it is not held any more.
    pub(super) fn take(storage: &Arc<dyn Storage>, clock: &Arc<dyn Clock>) -> Result<Self, StorageError> {
        let before = rows::read::<Row>(&**storage, ROW)?;
        let lease = Self {
            storage: storage.clone(),
            clock: clock.clone(),
            epoch: before.map_or(0, |row| row.epoch) + 1,
            renewed: AtomicU64::new(0),
            is_lost: AtomicBool::new(false),
        };
        lease.put(true, Vec::new())?;
        Ok(lease)
    }

    /// Renews it, unless that was done a moment ago. To be called before each operation that changes something outside.
    pub(super) fn renew(&self) -> Result<(), Lost> {
        let renewed = at_milliseconds(self.renewed.load(Ordering::Relaxed));
        let now = self.clock.now();
        let is_fresh = renewed <= now && between(renewed, now) < FRESH;
        if is_fresh && !self.is_lost() { Ok(()) } else { self.write(Vec::new()) }
    }

    /// Writes rows, and renews the lease with them.
    pub(super) fn write(&self, changes: Vec<Change>) -> Result<(), Lost> {
        self.check()?;
        self.put(true, changes).map_err(|error| self.lose(Lost::Storage(error)))
    }

    /// Writes rows, and gives the lease back with them.
    pub(super) fn release(&self, changes: Vec<Change>) -> Result<(), Lost> {
        self.check()?;
        self.abandon();
        self.put(false, changes).map_err(Lost::Storage)
    }

    /// Uses it no more. It is not given back: what was sent may still be on its way.
    pub(super) fn abandon(&self) {
        self.is_lost.store(true, Ordering::Relaxed);
    }

    /// Whether it was found to be another's, or was given back or abandoned.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }

    fn check(&self) -> Result<(), Lost> {
        if sabotage::is_on(Defect::NoFencing) {
            return Ok(());
        }
        if self.is_lost() {
            return Err(Lost::Superseded);
        }
        let row = rows::read::<Row>(&*self.storage, ROW).map_err(|error| self.lose(Lost::Storage(error)))?;
        let is_ours = row.is_some_and(|row| row.epoch == self.epoch && row.is_held);
        if is_ours { Ok(()) } else { Err(self.lose(Lost::Superseded)) }
    }

    fn lose(&self, lost: Lost) -> Lost {
        self.abandon();
        lost
    }

    /// The alarm is set to when the lease is up: if this instance ends here, it wakes the next one.
    fn put(&self, is_held: bool, mut changes: Vec<Change>) -> Result<(), StorageError> {
        let now = self.clock.now();
        let renewed = milliseconds(now);
        if is_held {
            changes.push(Change::Alarm(Some(now + TERM)));
        }
        changes.push(rows::put(ROW, &Row { epoch: self.epoch, renewed, is_held }));
        self.storage.write(&changes)?;
        self.renewed.store(renewed, Ordering::Relaxed);
        Ok(())
    }
}
