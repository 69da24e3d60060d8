//! The runtime of a Durable Object: its storage and its alarm.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, SystemTime};

use futures_util::future::{Either, select};

use super::VirtualTime;
use crate::clock::Clock;
use crate::coordinator::{CoordinatorError, MemoryStorage, RowChange, Storage, StorageError};

/// How often in a row a failed alarm is called again.
const MAX_RETRIES: u32 = 6;
/// The pause before the first retry; each pause is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// The runtime of one Durable Object in virtual time: it is the storage of all instances of the object, and calls its
/// alarm. Clones are the same object.
///
/// # Example
/// ```
/// use kv_migrations::coordinator::{Caller, Coordinator};
/// use kv_migrations::testing::{MemoryLog, ObjectRuntime, VirtualTime};
/// use kv_migrations::{Backfill, Budget, Migration, Runner, kv::MemoryStore};
/// use std::pin::pin;
/// use std::sync::Arc;
///
/// let (time, store) = (VirtualTime::default(), MemoryStore::new());
/// (0..100).for_each(|number| store.insert(&format!("user_{number}"), "x"));
/// let touch = Backfill::new("user_", async |_, record, (): &()| Ok(record.put("y").await?));
/// let runner = Runner::new(store.clone(), "my-service", vec![Migration::backfill("001", "", touch)]).unwrap();
/// let runner = runner
///     .with_clock(Arc::new(time.clone()))
///     .with_log(Arc::new(MemoryLog::default()))
///     .with_budget(Budget::default().with_operations(50));
///
/// let runtime = ObjectRuntime::new(time.clone());
/// let coordinator = Coordinator::new(runner, Arc::new(runtime.clone()), || Ok(()));
/// let caller = Caller::default().until_finished();
/// let run = pin!(coordinator.run_pending(&caller));
/// let alarms = pin!(runtime.call_alarms(async || coordinator.alarm().await));
/// time.run(futures_util::future::select(run, alarms));
/// assert_eq!(store.value("user_99").unwrap(), b"y");
/// ```
#[derive(Debug, Clone)]
pub struct ObjectRuntime {
    time: VirtualTime,
    storage: MemoryStorage,
    alarm: Arc<Mutex<Alarm>>,
}

#[derive(Debug, Default)]
struct Alarm {
    /// How often it was set.
    times_set: u64,
    /// Who waits for it to be set.
    waker: Option<Waker>,
    /// How often in a row it has failed.
    failures: u32,
    is_stopped: bool,
}

impl ObjectRuntime {
    /// Creates the runtime of an object that was never used.
    pub fn new(time: VirtualTime) -> Self {
        Self::with_storage(time, MemoryStorage::new())
    }

    /// Returns the runtime of an object that has used this storage before.
    pub fn with_storage(time: VirtualTime, storage: MemoryStorage) -> Self {
        Self { time, storage, alarm: Arc::default() }
    }

    /// Returns when the alarm is due, if one is set.
    pub fn alarm(&self) -> Option<SystemTime> {
        self.storage.alarm()
    }

    /// Removes the alarm, as the runtime does when it calls it.
    pub fn take_alarm(&self) -> Option<SystemTime> {
        self.storage.take_alarm()
    }

    /// Calls `alarm` whenever it is due, one call at a time, until the runtime is [stopped](Self::stop).
    ///
    /// A call that fails is repeated after 2 seconds, and after twice as long each time, at most six times in a row.
    pub async fn call_alarms(&self, alarm: impl AsyncFn() -> Result<(), CoordinatorError>) {
        while self.alarm_is_due().await {
            self.take_alarm();
            if alarm().await.is_ok() {
                self.alarm_succeeded();
            } else {
                self.alarm_failed();
            }
        }
    }

    /// Waits until the alarm is due. Returns `false` once the runtime is [stopped](Self::stop).
    pub async fn alarm_is_due(&self) -> bool {
        loop {
            let times = {
                let alarm = self.locked();
                if alarm.is_stopped {
                    return false;
                }
                alarm.times_set
            };
            let set_again = std::pin::pin!(self.alarm_is_set(times));
            match self.alarm() {
                None => set_again.await,
                Some(at) => {
                    if let Either::Left(_) = select(self.time.sleep_until(at), set_again).await {
                        return true;
                    }
                }
            }
        }
    }

    /// Notes that a call of the alarm returned `Ok`.
    pub fn alarm_succeeded(&self) {
        self.locked().failures = 0;
    }

    /// Notes that a call of the alarm failed or did not return, and sets the alarm again. Returns `false` if it was the
    /// last of six retries: then the alarm is not set.
    pub fn alarm_failed(&self) -> bool {
        let pause = {
            let mut alarm = self.locked();
            if alarm.failures == MAX_RETRIES {
                alarm.failures = 0;
                return false;
            }
            alarm.failures += 1;
            FIRST_PAUSE * (1 << (alarm.failures - 1))
        };
        let again = self.time.now() + pause;
        let earliest = self.alarm().map_or(again, |at| at.min(again));
        self.write(&[RowChange::alarm(earliest)]).is_ok()
    }

    /// Ends [`call_alarms`](Self::call_alarms) and [`alarm_is_due`](Self::alarm_is_due).
    pub fn stop(&self) {
        self.locked().is_stopped = true;
        self.wake();
    }

    /// Waits until the alarm has been set more often than this.
    async fn alarm_is_set(&self, times: u64) {
        poll_fn(|context| {
            let mut alarm = self.locked();
            if alarm.times_set > times {
                return Poll::Ready(());
            }
            alarm.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn wake(&self) {
        let waker = {
            let mut alarm = self.locked();
            alarm.times_set += 1;
            alarm.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    fn locked(&self) -> MutexGuard<'_, Alarm> {
        self.alarm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for ObjectRuntime {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.storage.get(name)
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
        self.storage.list(prefix)
    }

    /// Refuses an alarm at 1970, as the runtime does.
    fn write(&self, changes: &[RowChange]) -> Result<(), StorageError> {
        let is_refused = |change: &RowChange| matches!(change, RowChange::Alarm(Some(at)) if *at <= SystemTime::UNIX_EPOCH);
        if changes.iter().any(is_refused) {
            return Err(StorageError::new("setAlarm() cannot be called with an alarm time <= 0"));
        }
        self.storage.write(changes)?;
        if changes.iter().any(|change| matches!(change, RowChange::Alarm(_))) {
            self.wake();
        }
        Ok(())
    }
}
