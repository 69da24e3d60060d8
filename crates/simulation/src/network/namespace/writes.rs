//! Writes, which take their time to have an effect, and to be seen.

use futures::FutureExt;
use kv_migrations::kv::{Entry, Expiration, KvError, PutOptions, Request, Store};

use super::super::history::{Stored, Version};
use super::super::{LOCATIONS, Weather};
use super::{Namespace, State};

/// A write on its way.
pub(in crate::network) struct Write {
    pub(in crate::network) key: String,
    /// None deletes it.
    pub(in crate::network) value: Option<Vec<u8>>,
    pub(in crate::network) options: PutOptions,
    pub(in crate::network) location: usize,
    /// The run that sent it, if it was one.
    pub(in crate::network) run: Option<usize>,
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
    /// Writes at once, as it was written there so many milliseconds ago.
    pub fn write_before(&self, location: usize, key: &str, value: &[u8], options: PutOptions, ago: i64) {
        let value = Some(value.to_vec());
        let write = Write { key: key.to_owned(), value, options, location, run: None };
        let at = self.time.now() - ago;
        // What KV refuses, was not there before.
        let _ = self.take_effect(&mut self.state(), &write, at);
    }

    /// Sends a write, to take effect at this time.
    pub(in crate::network) fn send(&self, write: Write, at: i64) -> u64 {
        let mut state = self.state();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.on_their_way.insert((at, ticket), write);
        state.outcomes.insert(ticket, None);
        ticket
    }

    /// What became of a write; none if it is on its way still.
    pub(in crate::network) fn outcome(&self, ticket: u64) -> Option<Result<(), KvError>> {
        self.settle();
        let mut state = self.state();
        let outcome = state.outcomes.get_mut(&ticket)?.take()?;
        state.outcomes.remove(&ticket);
        Some(outcome)
    }

    /// Nobody waits for it any more. It may be stopped on its way, or not.
    pub(in crate::network) fn abandon(&self, ticket: u64, at: i64) {
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
            return Err(request.refused(Some(429), "Too Many Requests"));
        }
        self.truth
            .call(request)
            .now_or_never()
            .unwrap_or_else(|| Err(request.refused(None, "memory waits")))?;
        let stored = value.as_ref().map(|value| Stored {
            entry: Entry::new(value.clone()).with_metadata(options.metadata.clone()),
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
}
