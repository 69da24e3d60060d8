//! The operations of one entry.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::kv::{Answer, KvError, Request};

/// The entry that operations belong to. Only [`EntryOperations`] implements it.
pub(super) trait EntryHooks: Send + Sync {
    /// Counts one more operation.
    fn add(&self);

    /// Notes that an operation was refused because the budget was used up, or the run has ended.
    fn cut_off(&self);

    /// Notes what came of an operation.
    fn note(&self, request: Request<'_>, result: &Result<Answer, KvError>);

    /// Whether the request must not be repeated, because it would overwrite what somebody else wrote.
    fn forbids_retry(&self, request: Request<'_>, error: &KvError) -> bool;

    /// The same for operations in another namespace.
    fn in_other_namespace(&self) -> Arc<dyn EntryHooks>;
}

/// Counts the operations of one entry, and notes what kept it from being done, whatever its work made of that: the budget,
/// or KV. Clones share this.
#[derive(Clone, Default)]
pub(crate) struct EntryOperations {
    state: Arc<Mutex<State>>,
    highest: HighestCost,
    /// The keys of the entry that must not be overwritten unseen.
    own_keys: Arc<[String]>,
}

#[derive(Default)]
struct State {
    number: u64,
    is_cut_off: bool,
    attempt: Attempt,
}

/// What happened in one attempt to do the work.
#[derive(Default)]
struct Attempt {
    outage: Option<KvError>,
    /// Which of its own keys it has written.
    written: Vec<String>,
    has_conflict: bool,
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
        Self { state: Arc::default(), highest: highest.clone(), own_keys: Arc::default() }
    }

    /// Begins an attempt to do the work. The first write of the attempt to each of `own_keys` is not repeated after a 429.
    pub(crate) fn begin_attempt(&self, own_keys: &[&str]) -> Self {
        self.state().attempt = Attempt::default();
        Self { own_keys: own_keys.iter().map(|&key| key.to_owned()).collect(), ..self.clone() }
    }

    /// Whether an operation was refused because the budget was used up.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.state().is_cut_off
    }

    /// The first operation of the attempt that failed although nothing was wrong with it.
    pub(crate) fn outage(&self) -> Option<KvError> {
        self.state().attempt.outage.clone()
    }

    /// Whether somebody else wrote the entry a moment ago, so that the attempt was perhaps based on an older value: KV
    /// refuses a second write to a key within a second with 429.
    pub(crate) fn has_conflict(&self) -> bool {
        self.state().attempt.has_conflict
    }

    fn is_own_write(&self, request: Request<'_>) -> bool {
        matches!(request, Request::Put { .. } | Request::Delete { .. })
            && self.own_keys.iter().any(|key| key == request.key())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EntryHooks for EntryOperations {
    fn add(&self) {
        let mut state = self.state();
        state.number += 1;
        self.highest.0.fetch_max(state.number, Ordering::Relaxed);
    }

    fn cut_off(&self) {
        self.state().is_cut_off = true;
    }

    fn note(&self, request: Request<'_>, result: &Result<Answer, KvError>) {
        let attempt = &mut self.state().attempt;
        match result {
            Ok(_) if self.is_own_write(request) => attempt.written.push(request.key().to_owned()),
            Err(error) if error.is_outage() => drop(attempt.outage.get_or_insert_with(|| error.clone())),
            _ => {}
        }
    }

    fn forbids_retry(&self, request: Request<'_>, error: &KvError) -> bool {
        let attempt = &mut self.state().attempt;
        let is_written = attempt.written.iter().any(|key| key == request.key());
        let forbids = error.status() == Some(429) && self.is_own_write(request) && !is_written;
        attempt.has_conflict |= forbids;
        forbids
    }

    fn in_other_namespace(&self) -> Arc<dyn EntryHooks> {
        Arc::new(Self { own_keys: Arc::default(), ..self.clone() })
    }
}
