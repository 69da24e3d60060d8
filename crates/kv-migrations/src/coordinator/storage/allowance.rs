//! How many writes a day the migrations may make, and how many they have made.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::{RowChange, Storage, StorageError, rows};
use crate::clock::{Clock, day, until_quota_begins};
use crate::kv::{KvError, Operation, Request};

const ROW: &str = "writes";
/// The most writes that are kept for copies of markers.
const MAX_KEPT: u64 = 20;

/// The writes of one day, whose number counts from 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Writes {
    day: u64,
    puts: u64,
    deletes: u64,
}

/// Counts the writes of a day. Rows that are written for other reasons carry the count, so that it costs none.
pub(crate) struct Allowance {
    /// The most puts, and the most deletes.
    max: u64,
    clock: Arc<dyn Clock>,
    counted: Mutex<Counted>,
}

struct Counted {
    writes: Writes,
    /// What the row says.
    written: Writes,
}

impl Allowance {
    /// `max` counts copies of markers too, for which a tenth is kept, 20 at most.
    pub(crate) fn load(
        storage: &dyn Storage,
        clock: &Arc<dyn Clock>,
        max: u64,
    ) -> Result<Self, StorageError> {
        let written = rows::read(storage, ROW)?.unwrap_or_default();
        let counted = Mutex::new(Counted { writes: written, written });
        let max = max - (max / 10).min(MAX_KEPT);
        Ok(Self { max, clock: clock.clone(), counted })
    }

    /// Counts an operation of a migration. An error if the day's writes are used up.
    pub(crate) fn admit(&self, request: Request<'_>) -> Result<(), KvError> {
        let mut counted = self.counted();
        match counted.count_of(request.operation()) {
            Some(count) if *count >= self.max => {
                Err(request.quota_exhausted(until_quota_begins(self.clock.now())))
            }
            Some(count) => {
                *count += 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Counts the copy of a marker, which is never refused.
    pub(crate) fn add(&self, request: Request<'_>) {
        if let Some(count) = self.counted().count_of(request.operation()) {
            *count += 1;
        }
    }

    /// The change that writes the count down, unless the row has it.
    pub(crate) fn change(&self) -> Option<RowChange> {
        let mut counted = self.counted();
        let Counted { writes, written } = *counted;
        counted.written = writes;
        (writes != written).then(|| rows::put(ROW, &writes))
    }

    /// The count of this day.
    fn counted(&self) -> MutexGuard<'_, Counted> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let day = day(self.clock.now());
        if counted.writes.day != day {
            counted.writes = Writes { day, ..Writes::default() };
        }
        counted
    }
}

impl Counted {
    /// `None` for operations that write nothing.
    fn count_of(&mut self, operation: Operation) -> Option<&mut u64> {
        match operation {
            Operation::Put => Some(&mut self.writes.puts),
            Operation::Delete => Some(&mut self.writes.deletes),
            Operation::Get | Operation::GetBulk | Operation::List => None,
        }
    }
}

/// The change that deletes the row if it cannot be read. The count begins again.
pub(crate) fn without_unreadable(storage: &dyn Storage) -> Result<Option<RowChange>, StorageError> {
    rows::delete_unreadable::<Writes>(storage, ROW)
}
