//! For machines: each line of the standard output is one value of JSON.

use std::time::Duration;

use serde_json::{Value, json};

use super::contract::Output;
use super::print::{print, print_error, print_failure};
use super::words::why;
use crate::answer::Event;
use crate::exit::Failure;
use crate::job_state::Reason;
use crate::text::plain;

pub(super) struct Json;

fn print_line(value: &Value) {
    print(&format!("{value}\n"));
}

impl Output for Json {
    fn event(&mut self, _: &Event, line: &str, _: Duration) {
        print(&format!("{line}\n"));
    }

    fn wait(&mut self, seconds: u64, reason: &Reason) {
        let name = match reason {
            Reason::Continues => "continues",
            Reason::Quota => "quota",
            Reason::Release(_) => "release",
            Reason::Busy(_) => "busy",
            Reason::Unavailable(_) => "unavailable",
            Reason::Lost(_) => "lost",
        };
        print_line(&json!({ "event": "waiting", "seconds": seconds, "reason": name, "detail": why(reason) }));
    }

    fn note(&mut self, text: &str) {
        print_error(&plain(text));
    }

    fn result(&mut self, _: &str, json: &Value) {
        print_line(json);
    }

    fn failure(&mut self, failure: &Failure) {
        print_line(&failure.to_json());
        print_failure(failure);
    }
}
