//! The operations that KV refused and that were retried.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::kv::KvError;

/// Counts retried refusals and keeps the last one.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<Option<Refused>>);

/// What was refused so far.
struct Refused {
    count: u64,
    /// The text of its error.
    last: String,
}

impl Refusals {
    /// What was refused so far, as the end of an error's text. Empty if nothing was refused.
    pub(crate) fn text(&self) -> String {
        match &*self.refused() {
            Some(Refused { count, last }) => {
                format!(
                    ". KV refused {count} operations, which were retried after pauses; the last one: {last}"
                )
            }
            None => String::new(),
        }
    }

    pub(super) fn add(&self, error: &KvError) {
        let mut refused = self.refused();
        let count = refused.as_ref().map_or(0, |refused| refused.count) + 1;
        *refused = Some(Refused { count, last: format!("{error}") });
    }

    fn refused(&self) -> MutexGuard<'_, Option<Refused>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
