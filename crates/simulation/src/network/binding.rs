//! The KV binding of one request: a store with latency and faults, at one location.

use std::sync::{Arc, Mutex, PoisonError};

use kv_migrations::BoxFuture;
use kv_migrations::kv::{Answer, KvError, PutOptions, Request, Store};

use super::namespace::{Namespace, Write};
use crate::dice::Dice;
use crate::fate::Doom;
use crate::time::Time;
use crate::witness::Witness;

/// What a request sees of KV, and what it has to suffer.
#[derive(Clone)]
pub struct Binding {
    /// The namespace.
    pub namespace: Namespace,
    /// The time.
    pub time: Time,
    /// What its faults are drawn from.
    pub dice: Dice,
    /// Who sees its operations.
    pub witness: Witness,
    /// Where it is.
    pub location: usize,
    /// Who it is, in the trace.
    pub name: String,
    /// Which run it is, if it is one.
    pub run: Current,
    /// What comes over it.
    pub doom: Doom,
}

/// The run that goes on at the moment, by its number. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Current(Arc<Mutex<Option<usize>>>);

impl Current {
    /// This one.
    pub fn of(run: usize) -> Self {
        let current = Self::default();
        current.set(run);
        current
    }

    /// Which.
    pub fn get(&self) -> Option<usize> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this one.
    pub fn set(&self, run: usize) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(run);
    }
}

/// What happens to an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It has no effect.
    Refused(Option<u16>, &'static str),
    /// Its answer is lost.
    Lost(Option<u16>, &'static str),
}

impl Binding {
    fn fault(&self) -> Option<Fault> {
        let (weather, dice) = (self.namespace.weather(), &self.dice);
        if dice.chance(weather.refused) {
            let (status, message) = dice.pick([(429, "Too Many Requests"), (503, "Service Unavailable")]);
            return Some(Fault::Refused(Some(status), message));
        }
        if dice.chance(weather.lost) {
            return Some(Fault::Lost(Some(500), "Internal Server Error"));
        }
        if dice.chance(weather.broken) {
            let message = "Network connection lost.";
            return Some(if dice.chance(500) {
                Fault::Refused(None, message)
            } else {
                Fault::Lost(None, message)
            });
        }
        None
    }

    fn latency(&self) -> i64 {
        let is_slow = self.dice.chance(self.namespace.weather().slow);
        let milliseconds = self.dice.between(if is_slow { 1_000..=6_000 } else { 1..=25 });
        i64::try_from(milliseconds).unwrap_or(0)
    }

    async fn answer(&self, request: Request<'_>) -> Result<Answer, KvError> {
        let fault = self.fault();
        let (there, back) = (self.latency(), self.latency());
        let at = self.time.now() + there;
        let result = match request {
            _ if matches!(fault, Some(Fault::Refused(..))) => {
                self.time.sleep_until(at).await;
                Ok(Answer::Done)
            }
            Request::Put { key, value, options } => self.write(key, Some(value), options.clone(), at).await,
            Request::Delete { key } => self.write(key, None, PutOptions::default(), at).await,
            _ => {
                self.time.sleep_until(at).await;
                Ok(self.read(request))
            }
        };
        self.time.sleep(back).await;
        match fault {
            None => result,
            Some(Fault::Refused(status, message) | Fault::Lost(status, message)) => {
                Err(request.refused(status, message))
            }
        }
    }

    fn read(&self, request: Request<'_>) -> Answer {
        match request {
            Request::Get { key } => Answer::Entry(self.namespace.get(self.location, key)),
            Request::GetBulk { keys } => Answer::Values(self.namespace.get_bulk(self.location, keys)),
            Request::List(options) => Answer::Page(self.namespace.list(self.location, options)),
            _ => Answer::Done,
        }
    }

    async fn write(
        &self,
        key: &str,
        value: Option<&[u8]>,
        options: PutOptions,
        at: i64,
    ) -> Result<Answer, KvError> {
        let (key, value) = (key.to_owned(), value.map(<[u8]>::to_vec));
        let write = Write { key, value, options, location: self.location, run: self.run.get() };
        let ticket = self.namespace.send(write, at);
        let on_its_way = OnItsWay { namespace: &self.namespace, ticket, at };
        self.time.sleep_until(at).await;
        let outcome = self.namespace.outcome(on_its_way.ticket);
        outcome.unwrap_or(Ok(())).map(|()| Answer::Done)
    }
}

/// A write that somebody waits for.
struct OnItsWay<'a> {
    namespace: &'a Namespace,
    ticket: u64,
    at: i64,
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        self.namespace.abandon(self.ticket, self.at);
    }
}

impl Store for Binding {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        self.doom.count();
        if let Some(run) = self.run.get() {
            let is_write = matches!(request, Request::Put { .. } | Request::Delete { .. });
            self.witness.operation(run, is_write);
        }
        Box::pin(async move {
            let result = self.answer(request).await;
            self.witness.trace.note(|| format!("{}: {request:?} → {}", self.name, outcome(&result)));
            result
        })
    }
}

fn outcome(result: &Result<Answer, KvError>) -> String {
    let text = |value: &[u8]| String::from_utf8_lossy(value).chars().take(60).collect::<String>();
    match result {
        Ok(Answer::Entry(entry)) => {
            entry.as_ref().map_or_else(|| "missing".to_owned(), |entry| text(&entry.value))
        }
        Ok(Answer::Values(values)) => format!("{} values", values.len()),
        Ok(Answer::Page(page)) => {
            let names: Vec<&str> = page.keys.iter().map(|key| key.name.as_str()).collect();
            format!("{names:?}{}", if page.cursor.is_some() { " and more" } else { "" })
        }
        Ok(_) => "done".to_owned(),
        Err(error) => error.to_string(),
    }
}
