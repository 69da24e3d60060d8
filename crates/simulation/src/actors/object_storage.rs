//! The storage of an object, as one of its instances sees it: strongly consistent, but it can fail; and watched.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use futures::future::poll_fn;
use kv_migrations::coordinator::{Change, MemoryStorage, Storage, StorageError};

use crate::dice::Dice;
use crate::network::{Current, Namespace};
use crate::noted::Noted;
use crate::witness::Witness;

/// The rows, and who sees what is written.
pub(super) struct Rows {
    pub(super) storage: MemoryStorage,
    pub(super) alarm: AlarmSet,
    pub(super) dice: Dice,
    pub(super) witness: Witness,
    pub(super) namespace: Namespace,
    pub(super) step: Current,
}

impl Rows {
    fn may_fail(&self) -> Result<(), StorageError> {
        if !self.dice.chance(self.namespace.weather().broken_rows) {
            return Ok(());
        }
        self.witness.rows_failed(self.step.get());
        Err(StorageError::new("it was reset"))
    }
}

impl Storage for Rows {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.may_fail()?;
        self.storage.get(name)
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
        self.may_fail()?;
        self.storage.list(prefix)
    }

    fn write(&self, changes: &[Change]) -> Result<(), StorageError> {
        self.may_fail()?;
        let noted = Noted::read(changes, &self.storage);
        self.storage.write(changes)?;
        self.witness.noted(self.step.get(), &noted, self.namespace.truth());
        if changes.iter().any(|change| matches!(change, Change::Alarm(_))) {
            self.alarm.tell();
        }
        Ok(())
    }
}

/// Tells the runtime that the alarm was set anew. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct AlarmSet(Arc<Mutex<(u64, Option<Waker>)>>);

impl AlarmSet {
    pub(super) fn tell(&self) {
        let waker = {
            let mut set = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            set.0 += 1;
            set.1.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// How often it was.
    pub(super) fn times(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// Until it is set more often than that.
    pub(super) async fn next(&self, times: u64) {
        poll_fn(|context| {
            let mut set = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if set.0 > times {
                return Poll::Ready(());
            }
            set.1 = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
