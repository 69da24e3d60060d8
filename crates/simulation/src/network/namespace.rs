//! One namespace: its truth, the writes on their way to it, and what each location sees of it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use kv_migrations::clock::Clock;
use kv_migrations::kv::{
    BulkValue, Entry, Expiration, Key, KvError, ListOptions, MemoryStore, Page, PutOptions, Request, Store,
};

use super::history::{History, Stored, Version};
use super::{LOCATIONS, Weather};
use crate::dice::Dice;
use crate::time::Time;

/// A page never has more keys than this.
const MOST_KEYS: u32 = 1_000;
/// For how long a cursor is good.
const CURSOR_LIFE: i64 = 600_000;

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

/// A write on its way.
pub(super) struct Write {
    pub(super) key: String,
    /// None deletes it.
    pub(super) value: Option<Vec<u8>>,
    pub(super) options: PutOptions,
    pub(super) location: usize,
    /// The run that sent it, if it was one.
    pub(super) run: Option<usize>,
}

/// A write that took effect.
#[derive(Debug)]
pub struct Written<'a> {
    /// The run that sent it, if it was one.
    pub run: Option<usize>,
    /// Its key.
    pub key: &'a str,
    /// Its value; none if it was deleted.
    pub value: Option<&'a [u8]>,
    /// What it was before, if it was deleted.
    pub deleted: Option<&'a [u8]>,
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

    pub(super) fn weather(&self) -> Weather {
        self.state().weather
    }

    /// Writes at once, as it was written there so many milliseconds ago.
    pub fn write_before(&self, location: usize, key: &str, value: &str, options: PutOptions, ago: i64) {
        let value = Some(value.as_bytes().to_vec());
        let write = Write { key: key.to_owned(), value, options, location, run: None };
        let at = self.time.now() - ago;
        // What KV refuses, was not there before.
        let _ = self.take_effect(&mut self.state(), &write, at);
    }

    /// Sends a write, to take effect at this time.
    pub(super) fn send(&self, write: Write, at: i64) -> u64 {
        let mut state = self.state();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.on_their_way.insert((at, ticket), write);
        state.outcomes.insert(ticket, None);
        ticket
    }

    /// What became of a write; none if it is on its way still.
    pub(super) fn outcome(&self, ticket: u64) -> Option<Result<(), KvError>> {
        self.settle();
        let mut state = self.state();
        let outcome = state.outcomes.get_mut(&ticket)?.take()?;
        state.outcomes.remove(&ticket);
        Some(outcome)
    }

    /// Nobody waits for it any more. It may be stopped on its way, or not.
    pub(super) fn abandon(&self, ticket: u64, at: i64) {
        let mut state = self.state();
        if state.outcomes.remove(&ticket).is_some() && self.dice.chance(500) {
            state.on_their_way.remove(&(at, ticket));
        }
    }

    /// Lets what is due take effect.
    pub fn settle(&self) {
        let now = self.time.now();
        loop {
            let mut state = self.state();
            let Some(first) = state.on_their_way.first_entry() else { return };
            let (at, ticket) = *first.key();
            if at > now {
                return;
            }
            let write = first.remove();
            let deleted = if write.value.is_none() { self.truth.value(&write.key) } else { None };
            let result = self.take_effect(&mut state, &write, at);
            if let Some(outcome) = state.outcomes.get_mut(&ticket) {
                *outcome = Some(result.clone());
            }
            drop(state);
            if result.is_ok() {
                let Write { run, key, value, .. } = &write;
                let (value, deleted) = (value.as_deref(), deleted.as_deref());
                (self.on_write)(&Written { run: *run, key, value, deleted }, &self.truth);
            }
        }
    }

    fn take_effect(&self, state: &mut State, write: &Write, now: i64) -> Result<(), KvError> {
        let Write { key, value, options, location, .. } = write;
        let request = match value {
            Some(value) => Request::Put { key, value, options },
            None => Request::Delete { key },
        };
        let weather = state.weather;
        let history = state.keys.entry(key.clone()).or_default();
        if !history.takes(now) {
            return Err(request.refused("429 Too Many Requests"));
        }
        self.truth.call(request).now_or_never().unwrap_or_else(|| Err(request.refused("memory waits")))?;
        let stored = value.as_ref().map(|value| Stored {
            entry: Entry { value: value.clone(), metadata: options.metadata.clone() },
            expiration: options.expiration.map(|expiration| match expiration {
                Expiration::At(at) => at,
                Expiration::After(seconds) => u64::try_from(now / 1_000).unwrap_or(0) + seconds,
            }),
        });
        let mut version = Version { stored, seen: [now; LOCATIONS], listed: [now; LOCATIONS] };
        for place in 0..LOCATIONS {
            let is_own = place == *location;
            if !is_own || self.dice.chance(weather.own_late) {
                version.seen[place] += self.delay(weather);
            }
            if !is_own || self.dice.chance(weather.own_unlisted) {
                version.listed[place] += self.delay(weather);
            }
        }
        history.push(*location, version, now);
        Ok(())
    }

    fn delay(&self, weather: Weather) -> i64 {
        let delay = match self.dice.between(0..=3) {
            0 => 0,
            1 => weather.delay,
            _ => self.dice.between(0..=weather.delay),
        };
        i64::try_from(delay).unwrap_or(0)
    }

    pub(super) fn get(&self, location: usize, key: &str) -> Option<Entry> {
        self.settle();
        let state = &mut *self.state();
        let remembered = self.dice.between(0..=state.weather.delay);
        let history = state.keys.entry(key.to_owned()).or_default();
        history.seen(location, self.time.now(), remembered).map(|stored| stored.entry.clone())
    }

    pub(super) fn get_bulk(&self, location: usize, keys: &[&str]) -> Vec<BulkValue> {
        let read = |key: &&str| match self.get(location, key) {
            None => BulkValue::Missing,
            Some(entry) => String::from_utf8(entry.value).map_or(BulkValue::Unread, BulkValue::from_text),
        };
        keys.iter().map(read).collect()
    }

    /// A page, which can be short or empty. A cursor is when the page before was told, and its last key.
    pub(super) fn list(&self, location: usize, options: ListOptions<'_>) -> Page {
        self.settle();
        let (now, state) = (self.time.now(), self.state());
        let cursor = options.cursor.and_then(|cursor| cursor.split_once(' '));
        let told = cursor.and_then(|(told, _)| told.parse().ok()).unwrap_or(now);
        if now - told > CURSOR_LIFE {
            return Page { keys: Vec::new(), cursor: None };
        }
        let mut limit = options.limit.unwrap_or(MOST_KEYS) as usize;
        if self.dice.chance(state.weather.short_pages) {
            limit = limit.min(self.dice.below(8));
        }
        let after = cursor.map(|(_, after)| after).filter(|after| !after.is_empty());
        let start = after.map_or(Bound::Included(options.prefix), Bound::Excluded);
        let range = state.keys.range::<str, _>((start, Bound::Unbounded));
        let in_prefix = range.take_while(|(name, _)| name.starts_with(options.prefix));
        let mut keys: Vec<Key> = in_prefix
            .filter_map(|(name, history)| history.listed(name, location, now))
            .take(limit + 1)
            .collect();
        let is_last = keys.len() <= limit;
        keys.truncate(limit);
        let last = keys.last().map_or(after.unwrap_or_default(), |key| key.name.as_str());
        let cursor = (!is_last).then(|| format!("{now} {last}"));
        Page { keys, cursor }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `MemoryStore` takes a clock by value.
struct Exact(Arc<dyn Clock>);

impl Clock for Exact {
    fn now(&self) -> chrono::DateTime<chrono::Utc> {
        self.0.now()
    }

    fn sleep(&self, duration: std::time::Duration) -> futures::future::LocalBoxFuture<'_, ()> {
        self.0.sleep(duration)
    }
}
