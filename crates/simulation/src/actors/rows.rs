//! The storage of an object, as one of its instances sees it: strongly consistent, and watched.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use futures::future::poll_fn;
use kv_migrations::coordinator::{Change, MemoryStorage, Storage, StorageError};

use crate::network::{Current, Namespace};
use crate::witness::Witness;

/// What the rows are called in which markers are kept.
const MARKER: &str = "marker/";
/// What such a row says of a migration that is applied.
const IS_APPLIED: &str = "\"is_applied\":true";

/// The rows, and who sees what is written.
pub(super) struct Rows {
    pub(super) storage: MemoryStorage,
    pub(super) alarm: AlarmSet,
    pub(super) witness: Witness,
    pub(super) namespace: Namespace,
    pub(super) step: Current,
}

impl Storage for Rows {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.storage.get(name)
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
        self.storage.list(prefix)
    }

    fn write(&self, changes: &[Change]) -> Result<(), StorageError> {
        self.storage.write(changes)?;
        for change in changes {
            match change {
                Change::Put { name, bytes } => {
                    if let Some(key) = name.strip_prefix(MARKER) {
                        let is_applied = String::from_utf8_lossy(bytes).contains(IS_APPLIED);
                        self.witness.recorded(self.step.get(), key, is_applied, self.namespace.truth());
                    }
                }
                Change::Delete { .. } => {}
                Change::Alarm(_) => self.alarm.tell(),
            }
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
