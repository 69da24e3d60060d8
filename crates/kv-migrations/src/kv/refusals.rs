//! What KV refused, and was tried again.

use std::sync::{Arc, Mutex, PoisonError};

use super::KvError;

/// How often something was refused and tried again, and the last answer. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Refusals(Arc<Mutex<Option<(u64, KvError)>>>);

impl Refusals {
    pub(crate) fn last(&self) -> Option<(u64, KvError)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn add(&self, error: KvError) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = last.take().map_or(0, |(number, _)| number);
        *last = Some((number + 1, error));
    }
}
