//! Alarms that came too early: set again, each time to a later time than before.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::records::Records;
use super::storage::{RowChange, StorageError};

/// The least time to an alarm that is set again because it came too early.
const MIN_SLEEP: Duration = Duration::from_millis(100);
/// The time between two alarms that both come too early.
const PAUSE: Duration = Duration::from_secs(1);

/// Sets alarms again that came too early.
#[derive(Default)]
pub(super) struct Sleep(Mutex<Option<SetAgain>>);

/// An alarm that was set again.
struct SetAgain {
    due: SystemTime,
    alarm: SystemTime,
}

impl Sleep {
    /// Sets the alarm for this time, or removes it. If the runtime's clock is ahead of this one, the alarm comes too early
    /// again, perhaps at once, because its time is over: each time it is set to a later time than before.
    pub(super) fn until(&self, records: &Records, due: Option<SystemTime>) -> Result<(), StorageError> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = records.now();
        let again = last.take().filter(|last| Some(last.due) == due);
        *last = due.map(|due| {
            let earliest = again.map_or(now + MIN_SLEEP, |last| last.alarm.max(now) + PAUSE);
            SetAgain { due, alarm: due.max(earliest) }
        });
        records.storage.write(&[RowChange::alarm(last.as_ref().map(|last| last.alarm))])
    }
}
