//! The operations that KV refused and that were retried.

use std::sync::{Arc, Mutex, PoisonError};

use crate::kv::KvError;

/// Counts retried refusals and keeps the last one. Clones share the count.
#[derive(Clone, Default)]
pub(crate) struct Refusals(Arc<Mutex<Option<Refused>>>);

/// What was refused so far.
#[derive(Clone)]
pub(crate) struct Refused {
    pub(crate) count: u64,
    pub(crate) last: KvError,
}

impl Refusals {
    /// `None` if nothing was refused.
    pub(crate) fn so_far(&self) -> Option<Refused> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn add(&self, last: KvError) {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = refused.take().map_or(0, |refused| refused.count) + 1;
        *refused = Some(Refused { count, last });
    }
}
