#![allow(clippy::needless_pass_by_value, reason = "`json!` makes a value, and tests are easier to read so")]
//! A service that answers by a script, on a clock that waits in no time.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};

use crate::answer::Event;
use crate::clock::Clock;
use crate::driver::Driver;
use crate::exit::Failure;
use crate::http::{Lost, Method, Reply, Request, Service};
use crate::job_state::Reason;
use crate::output::Output;

/// What a request is answered with, and the lines of events before it.
type Answered = (Vec<Value>, Result<Reply, Lost>);

#[derive(Default)]
pub(crate) struct Script {
    answers: RefCell<VecDeque<Answered>>,
    sent: RefCell<Vec<String>>,
    now: Cell<Duration>,
    told: RefCell<Told>,
}

#[derive(Default)]
struct Told {
    events: Vec<String>,
    notes: Vec<String>,
    waits: Vec<String>,
    results: Vec<String>,
    json: Vec<Value>,
}

/// A whole answer.
pub(crate) fn answer(status: u16, body: Value) -> Answered {
    let content_type = "application/json".to_owned();
    let retry_after = (status == 202).then_some(1);
    (Vec::new(), Ok(Reply { status, content_type, retry_after, location: None, body: body.to_string() }))
}

/// Events; the last one may be a verdict.
pub(crate) fn events(lines: impl IntoIterator<Item = Value>) -> Answered {
    let lines = lines.into_iter().collect::<Vec<_>>();
    let body = lines.last().map(ToString::to_string).unwrap_or_default();
    let content_type = "application/x-ndjson".to_owned();
    (lines, Ok(Reply { status: 200, content_type, body, ..Reply::default() }))
}

impl Script {
    pub(crate) fn new(answers: impl IntoIterator<Item = Answered>) -> Self {
        Self { answers: RefCell::new(answers.into_iter().collect()), ..Self::default() }
    }

    /// An answer that is a problem of the routes.
    pub(crate) fn problem(status: u16, kind: &str) -> Answered {
        let body =
            json!({ "type": format!("urn:kv-migrations:problem:{kind}"), "status": status, "detail": kind });
        let (content_type, retry_after) =
            ("application/problem+json".to_owned(), (status == 503).then_some(5));
        (Vec::new(), Ok(Reply { status, content_type, retry_after, location: None, body: body.to_string() }))
    }

    /// An answer of something else.
    pub(crate) fn foreign(status: u16) -> Answered {
        let content_type = "text/html".to_owned();
        (Vec::new(), Ok(Reply { status, content_type, body: "<html>".to_owned(), ..Reply::default() }))
    }

    /// No answer: the connection was lost.
    pub(crate) fn broken() -> Answered {
        (Vec::new(), Err(Lost::Broken("reset".to_owned())))
    }

    /// The same after these events.
    pub(crate) fn broken_after(lines: impl IntoIterator<Item = Value>) -> Answered {
        (lines.into_iter().collect::<Vec<_>>(), Err(Lost::Broken("reset".to_owned())))
    }

    /// No answer: there is no connection.
    pub(crate) fn not_reached() -> Answered {
        (Vec::new(), Err(Lost::NotReached("refused".to_owned())))
    }

    /// Does something with a driver that has an hour, and asks again up to three times.
    pub(crate) fn drive<T>(
        &self,
        work: impl FnOnce(&mut Driver<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut output = &self.told;
        work(&mut Driver {
            service: self,
            clock: self,
            output: &mut output,
            deadline: Duration::from_hours(1),
            retries: 3,
        })
    }

    /// The requests, in order.
    pub(crate) fn sent(&self) -> Vec<String> {
        self.sent.borrow().clone()
    }

    pub(crate) fn events(&self) -> Vec<String> {
        self.told.borrow().events.clone()
    }

    pub(crate) fn notes(&self) -> Vec<String> {
        self.told.borrow().notes.clone()
    }

    /// Why it waited, and for how many seconds.
    pub(crate) fn waits(&self) -> Vec<String> {
        self.told.borrow().waits.clone()
    }

    pub(crate) fn results(&self) -> Vec<String> {
        self.told.borrow().results.clone()
    }

    pub(crate) fn json(&self) -> Vec<Value> {
        self.told.borrow().json.clone()
    }

    /// How many seconds passed.
    pub(crate) fn waited(&self) -> u64 {
        self.now.get().as_secs()
    }
}

impl Service for Script {
    fn send(&self, request: &Request, _: Duration, on_line: &mut dyn FnMut(&str)) -> Result<Reply, Lost> {
        let method = if request.method == Method::Get { "GET" } else { "POST" };
        self.sent.borrow_mut().push(format!("{method} {}", request.path));
        let next = self.answers.borrow_mut().pop_front();
        let (lines, reply) = next.unwrap_or_else(|| panic!("no answer is left for {}", request.path));
        for line in &lines {
            on_line(&line.to_string());
        }
        reply
    }
}

impl Clock for Script {
    fn now(&self) -> Duration {
        self.now.get()
    }

    fn sleep(&self, duration: Duration) {
        self.now.set(self.now.get() + duration);
    }
}

impl Output for &RefCell<Told> {
    fn event(&mut self, event: &Event, _: &str, _: Duration) {
        let done = event.progress.as_ref().map(|progress| format!(" {}", progress.done)).unwrap_or_default();
        self.borrow_mut().events.push(format!("{} {}{done}", event.kind, event.id));
    }

    fn wait(&mut self, seconds: u64, reason: &Reason) {
        let reason = format!("{reason:?}");
        let name = reason.split('(').next().unwrap_or_default();
        self.borrow_mut().waits.push(format!("{name} {seconds}"));
    }

    fn note(&mut self, text: &str) {
        self.borrow_mut().notes.push(text.to_owned());
    }

    fn result(&mut self, text: &str, json: &Value) {
        let mut told = self.borrow_mut();
        told.results.push(text.to_owned());
        told.json.push(json.clone());
    }

    fn failure(&mut self, _: &Failure) {}
}
