//! The operations of one entry.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::kv::KvError;

/// Counts the operations of one entry, and notes what kept it from being done, whatever its work made of that: the budget,
/// or KV. Clones share this.
#[derive(Clone, Default)]
pub(crate) struct EntryOperations {
    state: Arc<Mutex<State>>,
    highest: HighestCost,
}

#[derive(Default)]
struct State {
    number: u64,
    is_cut_off: bool,
    outage: Option<KvError>,
}

/// The most operations that one entry has taken so far. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct HighestCost(Arc<AtomicU64>);

impl HighestCost {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl EntryOperations {
    pub(crate) fn new(highest: &HighestCost) -> Self {
        Self { state: Arc::default(), highest: highest.clone() }
    }

    /// Whether an operation was refused because the budget was used up.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.state().is_cut_off
    }

    /// The first operation that failed although nothing was wrong with it.
    pub(crate) fn outage(&self) -> Option<KvError> {
        self.state().outage.clone()
    }

    pub(super) fn add(&self) {
        let mut state = self.state();
        state.number += 1;
        self.highest.0.fetch_max(state.number, Ordering::Relaxed);
    }

    pub(super) fn cut_off(&self) {
        self.state().is_cut_off = true;
    }

    pub(super) fn note_error(&self, error: &KvError) {
        if error.is_outage() {
            self.state().outage.get_or_insert_with(|| error.clone());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
