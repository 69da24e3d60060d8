//! A namespace, and the writes that are on their way to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use kv_migrations::clock::Clock;
use kv_migrations::kv::{Answer, KvError, MemoryStore, PutOptions, Request};
use kv_migrations::testing::{Delay, DelayedKv, Origin, VirtualTime, Visibility};

use super::NetworkConditions;
use super::under_way::UnderWay;
use crate::observations::CompletedWrite;
use crate::random::Random;

/// A namespace. Clones share it.
#[derive(Clone)]
pub struct Namespace {
    time: VirtualTime,
    random: Random,
    conditions: Arc<Mutex<NetworkConditions>>,
    kv: DelayedKv,
    in_flight: Arc<Mutex<InFlight>>,
    on_write: Arc<OnWrite>,
    /// All operations that are under way.
    pub(super) under_way: UnderWay,
}

type OnWrite = dyn Fn(&CompletedWrite<'_>, &MemoryStore) + Send + Sync;

/// Writes by the time at which they arrive, and by their tickets.
#[derive(Default)]
struct InFlight {
    writes: BTreeMap<(SystemTime, u64), Write>,
    /// The results of the writes whose requests wait for them: `None` before they arrive.
    results: BTreeMap<u64, Option<Result<(), KvError>>>,
    next_ticket: u64,
}

/// A write on its way.
pub(super) struct Write {
    pub(super) key: String,
    /// `None` for a deletion.
    pub(super) value: Option<Vec<u8>>,
    pub(super) options: PutOptions,
    pub(super) location: usize,
    pub(super) run: Option<usize>,
}

impl Namespace {
    /// An empty namespace, which tells `on_write` about each write just after it took effect.
    pub fn new(
        time: &VirtualTime,
        random: Random,
        on_write: impl Fn(&CompletedWrite<'_>, &MemoryStore) + Send + Sync + 'static,
    ) -> Self {
        let conditions = Arc::new(Mutex::new(NetworkConditions::faultless()));
        let visibility = DrawnVisibility { random: random.clone(), conditions: conditions.clone() };
        let kv = DelayedKv::new(MemoryStore::with_clock(time.clone()), time.clone(), visibility);
        let time = time.clone();
        Self {
            time,
            random,
            conditions,
            kv,
            in_flight: Arc::default(),
            on_write: Arc::new(on_write),
            under_way: UnderWay::default(),
        }
    }

    /// What is really there.
    pub fn truth(&self) -> &MemoryStore {
        self.kv.truth()
    }

    /// Changes how unreliable it is.
    pub fn set_conditions(&self, conditions: NetworkConditions) {
        *locked(&self.conditions) = conditions;
    }

    /// How unreliable it is.
    pub fn conditions(&self) -> NetworkConditions {
        *locked(&self.conditions)
    }

    /// Puts an entry as if it had been written at a location this long ago.
    pub fn put_before(&self, location: usize, key: &str, value: &[u8], options: &PutOptions, ago: Duration) {
        // What KV refuses did not exist before.
        let _ = self.kv.answer(location, Request::Put { key, value, options }, self.time.now() - ago);
    }

    /// Lets all writes take effect that have arrived by now.
    pub fn settle(&self) {
        let now = self.time.now();
        loop {
            let ((arrival, ticket), write) = {
                let mut in_flight = self.in_flight();
                match in_flight.writes.first_entry() {
                    Some(first) if first.key().0 <= now => first.remove_entry(),
                    _ => return,
                }
            };
            let Write { key, value, options, location, run } = &write;
            let deleted = if value.is_none() { self.truth().value(key) } else { None };
            let request = match value {
                Some(value) => Request::Put { key, value, options },
                None => Request::Delete { key },
            };
            let result = self.kv.answer(*location, request, arrival).map(drop);
            let has_effect = result.is_ok();
            if let Some(awaited) = self.in_flight().results.get_mut(&ticket) {
                *awaited = Some(result);
            }
            if has_effect {
                let (value, deleted) = (value.as_deref(), deleted.as_deref());
                (self.on_write)(&CompletedWrite { run: *run, key, value, deleted }, self.truth());
            }
        }
    }

    /// Answers a request that changes nothing.
    pub(super) fn read(&self, location: usize, request: Request<'_>) -> Result<Answer, KvError> {
        self.settle();
        self.kv.answer(location, request, self.time.now())
    }

    /// Sends a write that arrives at this time, and returns its ticket.
    pub(super) fn send(&self, write: Write, arrival: SystemTime) -> u64 {
        let mut in_flight = self.in_flight();
        let ticket = in_flight.next_ticket;
        in_flight.next_ticket += 1;
        in_flight.writes.insert((arrival, ticket), write);
        in_flight.results.insert(ticket, None);
        ticket
    }

    /// The result of a write; `None` before it arrives.
    pub(super) fn take_result(&self, ticket: u64) -> Option<Result<(), KvError>> {
        self.settle();
        let mut in_flight = self.in_flight();
        let result = in_flight.results.get_mut(&ticket)?.take()?;
        in_flight.results.remove(&ticket);
        Some(result)
    }

    /// Notes that nothing waits for a write any more: it may still arrive, or not.
    pub(super) fn abandon(&self, ticket: u64, arrival: SystemTime) {
        let mut in_flight = self.in_flight();
        if in_flight.results.remove(&ticket).is_some() && self.random.chance(500) {
            in_flight.writes.remove(&(arrival, ticket));
        }
    }

    fn in_flight(&self) -> MutexGuard<'_, InFlight> {
        locked(&self.in_flight)
    }
}

/// What each location sees, as far as KV leaves that open.
struct DrawnVisibility {
    random: Random,
    conditions: Arc<Mutex<NetworkConditions>>,
}

impl DrawnVisibility {
    fn delay(&self, max_delay: u64) -> Duration {
        match self.random.between(0..=3) {
            0 => Duration::ZERO,
            1 => Duration::from_millis(max_delay),
            _ => self.random.milliseconds(0..=max_delay),
        }
    }
}

impl Visibility for DrawnVisibility {
    fn delay(&self, _: &str, origin: Origin) -> Delay {
        let conditions = *locked(&self.conditions);
        let delay = |chance_at_origin| {
            let is_late = origin == Origin::Elsewhere || self.random.chance(chance_at_origin);
            if is_late { self.delay(conditions.max_delay) } else { Duration::ZERO }
        };
        Delay { read: delay(conditions.late_at_origin), list: delay(conditions.unlisted_at_origin) }
    }

    fn missing(&self) -> Duration {
        self.random.milliseconds(0..=locked(&self.conditions).max_delay)
    }

    fn page_keys(&self, limit: usize) -> usize {
        let is_short = self.random.chance(locked(&self.conditions).short_pages);
        if is_short { limit.min(self.random.below(8)) } else { limit }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
