//! Whether KV failed a piece of work, whatever the work made of that.

use std::sync::{Arc, Mutex, PoisonError};

use crate::kv::KvError;

/// Notes the first operation that failed although nothing was wrong with it. Clones share the note.
#[derive(Clone, Default)]
pub(crate) struct Outage(Arc<Mutex<Option<KvError>>>);

impl Outage {
    /// `None` if there was none.
    pub(crate) fn noted(&self) -> Option<KvError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn note(&self, error: &KvError) {
        if error.is_outage() {
            let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            noted.get_or_insert_with(|| error.clone());
        }
    }
}
