//! One namespace: its truth, the writes on their way to it, and what each location sees of it.

mod reads;
mod writes;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kv_migrations::clock::Clock;
use kv_migrations::kv::{KvError, MemoryStore};

use super::Weather;
use super::history::History;
use crate::dice::Dice;
use crate::time::Time;
pub(super) use writes::Write;
pub use writes::Written;

/// A namespace. Clones are the same.
#[derive(Clone)]
pub struct Namespace {
    time: Time,
    dice: Dice,
    /// What is really there; and what KV refuses whatever the weather, it refuses.
    truth: MemoryStore,
    state: Arc<Mutex<State>>,
    on_write: Arc<OnWrite>,
}

type OnWrite = dyn Fn(&Written<'_>, &MemoryStore) + Send + Sync;

struct State {
    weather: Weather,
    keys: BTreeMap<String, History>,
    on_their_way: BTreeMap<(i64, u64), Write>,
    /// What became of the writes that somebody waits for.
    outcomes: BTreeMap<u64, Option<Result<(), KvError>>>,
    next_ticket: u64,
}

impl Namespace {
    /// An empty one. `on_write` is told of each write that takes effect, just after it did.
    pub fn new(
        time: &Time,
        dice: Dice,
        on_write: impl Fn(&Written<'_>, &MemoryStore) + Send + Sync + 'static,
    ) -> Self {
        let state = State {
            weather: Weather::calm(),
            keys: BTreeMap::new(),
            on_their_way: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            next_ticket: 0,
        };
        Self {
            time: time.clone(),
            dice,
            truth: MemoryStore::with_clock(Exact(time.clock(0))),
            state: Arc::new(Mutex::new(state)),
            on_write: Arc::new(on_write),
        }
    }

    /// What is really there.
    pub fn truth(&self) -> &MemoryStore {
        &self.truth
    }

    /// Changes how bad things are.
    pub fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// How bad they are.
    pub fn weather(&self) -> Weather {
        self.state().weather
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `MemoryStore` takes a clock by value.
struct Exact(Arc<dyn Clock>);

impl Clock for Exact {
    fn now(&self) -> std::time::SystemTime {
        self.0.now()
    }

    fn sleep(&self, duration: std::time::Duration) -> kv_migrations::BoxFuture<'_, ()> {
        self.0.sleep(duration)
    }
}
