//! The KV binding of one request: a store with latency and faults, at one location.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use kv_migrations::BoxFuture;
use kv_migrations::clock::Clock;
use kv_migrations::kv::{Answer, KvError, PutOptions, Request, Store};
use kv_migrations::testing::VirtualTime;

use super::namespace::{Namespace, Write};
use super::under_way::UnderWay;
use crate::fault::FaultCountdown;
use crate::monitor::Monitor;
use crate::random::Random;
use crate::value::shown;

/// KV as one request reaches it.
#[derive(Clone)]
pub struct Binding {
    /// The namespace.
    pub namespace: Namespace,
    /// The time.
    pub time: VirtualTime,
    /// What its latency and faults are drawn from.
    pub random: Random,
    /// What checks its operations.
    pub monitor: Monitor,
    /// The location of the request.
    pub location: usize,
    /// The name of the request in the trace.
    pub name: String,
    /// The run that the request belongs to, if it does.
    pub run: CurrentRun,
    /// When the request is cut off.
    pub countdown: FaultCountdown,
    /// Its operations that are under way.
    pub under_way: UnderWay,
}

/// The number of the run in progress. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct CurrentRun(Arc<Mutex<Option<usize>>>);

impl CurrentRun {
    /// This run.
    pub fn new(run: usize) -> Self {
        Self(Arc::new(Mutex::new(Some(run))))
    }

    /// Its number, if there is one.
    pub fn get(&self) -> Option<usize> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes this run the one in progress.
    pub fn set(&self, run: usize) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(run);
    }
}

/// Why an operation fails.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OperationFault {
    /// It has no effect. With the HTTP status, if there is one, and the message.
    Refused(Option<u16>, &'static str),
    /// It takes effect, but its answer is lost.
    AnswerLost(Option<u16>, &'static str),
}

impl Binding {
    fn fault(&self) -> Option<OperationFault> {
        let (conditions, random) = (self.namespace.conditions(), &self.random);
        if random.chance(conditions.refused) {
            let (status, message) = random.pick([(429, "Too Many Requests"), (503, "Service Unavailable")]);
            return Some(OperationFault::Refused(Some(status), message));
        }
        if random.chance(conditions.answer_lost) {
            return Some(OperationFault::AnswerLost(Some(500), "Internal Server Error"));
        }
        if random.chance(conditions.connection_lost) {
            let message = "Network connection lost.";
            return Some(if random.chance(500) {
                OperationFault::Refused(None, message)
            } else {
                OperationFault::AnswerLost(None, message)
            });
        }
        None
    }

    fn latency(&self) -> Duration {
        let conditions = self.namespace.conditions();
        let is_slow = self.random.chance(conditions.slow);
        self.random.milliseconds(if is_slow { 1_000..=6_000 } else { 1..=conditions.max_latency })
    }

    async fn answer(&self, request: Request<'_>) -> Result<Answer, KvError> {
        let fault = self.fault();
        let (latency_there, latency_back) = (self.latency(), self.latency());
        let arrival = self.time.now() + latency_there;
        let result = match request {
            _ if matches!(fault, Some(OperationFault::Refused(..))) => {
                self.time.sleep_until(arrival).await;
                Ok(Answer::Done)
            }
            Request::Put { key, value, options } => {
                self.write(key, Some(value), options.clone(), arrival).await
            }
            Request::Delete { key } => self.write(key, None, PutOptions::default(), arrival).await,
            _ => {
                self.time.sleep_until(arrival).await;
                let result = self.namespace.read(self.location, request);
                if let (Some(_), Request::Get { key }, Ok(Answer::Entry(entry))) =
                    (self.run.get(), request, &result)
                {
                    let shown = entry.as_ref().map(|entry| entry.value.as_slice());
                    self.monitor.kv_read(key, shown, self.namespace.truth());
                }
                result
            }
        };
        self.time.sleep(latency_back).await;
        match fault {
            None => result,
            Some(OperationFault::Refused(status, message) | OperationFault::AnswerLost(status, message)) => {
                Err(request.refused(status, message))
            }
        }
    }

    async fn write(
        &self,
        key: &str,
        value: Option<&[u8]>,
        options: PutOptions,
        arrival: SystemTime,
    ) -> Result<Answer, KvError> {
        let (key, value) = (key.to_owned(), value.map(<[u8]>::to_vec));
        let write = Write { key, value, options, location: self.location, run: self.run.get() };
        let ticket = self.namespace.send(write, arrival);
        let awaited = AwaitedWrite { namespace: &self.namespace, ticket, arrival };
        self.time.sleep_until(arrival).await;
        let result = self.namespace.take_result(awaited.ticket);
        result.unwrap_or(Ok(())).map(|()| Answer::Done)
    }
}

/// A write that its request waits for.
struct AwaitedWrite<'a> {
    namespace: &'a Namespace,
    ticket: u64,
    arrival: SystemTime,
}

impl Drop for AwaitedWrite<'_> {
    fn drop(&mut self) {
        self.namespace.abandon(self.ticket, self.arrival);
    }
}

impl Store for Binding {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        self.countdown.count();
        if let Some(run) = self.run.get() {
            self.monitor.operation(run, request);
        }
        Box::pin(async move {
            let all = &self.namespace.under_way;
            let _counted = (self.under_way.count(), all.count());
            let (own, all) = (self.under_way.number(), all.number());
            self.monitor.count(|tally| {
                tally.interleaved_within |= own > 1;
                tally.interleaved_between |= all > own;
            });
            let result = self.answer(request).await;
            self.monitor.trace.add(|| format!("{}: {request:?} → {}", self.name, described(&result)));
            result
        })
    }
}

fn described(result: &Result<Answer, KvError>) -> String {
    match result {
        Ok(Answer::Entry(entry)) => {
            entry.as_ref().map_or_else(|| "missing".to_owned(), |entry| shown(&entry.value))
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
