//! For people without a terminal: a line for each thing that happens, and now and then how far it is.

use std::time::Duration;

use serde_json::Value;

use super::contract::Output;
use super::print::{print_error, print_failure, print_result};
use super::words::{happened, why};
use crate::answer::Event;
use crate::exit::Failure;
use crate::job_state::Reason;
use crate::pace::{Pace, count};
use crate::text::plain;

/// A log is read later: it need not say each second how far it is.
const BETWEEN: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct Lines {
    pace: Pace,
    told: Duration,
    /// The migration that was begun last: each request that carries on begins it again.
    begun: String,
}

impl Output for Lines {
    fn event(&mut self, event: &Event, _: &str, now: Duration) {
        if let Some(progress) = &event.progress {
            let measured = self.pace.measure(&event.id, progress, now);
            if measured.is_new || now.saturating_sub(self.told) >= BETWEEN {
                self.told = now;
                let rate = Some(measured.text()).filter(|text| !text.is_empty());
                let rate = rate.map(|text| format!(" ({text})")).unwrap_or_default();
                self.note(&format!("{}: {} {}{rate}", event.id, progress.phase, count(progress)));
            }
        }
        if event.kind == "started" && std::mem::replace(&mut self.begun, event.id.clone()) == event.id {
            return;
        }
        if let Some(text) = happened(event) {
            print_error(&text);
        }
    }

    fn wait(&mut self, seconds: u64, reason: &Reason) {
        if *reason != Reason::Continues || seconds > 5 {
            self.note(&format!("waits {seconds} s: {}", why(reason)));
        }
    }

    fn note(&mut self, text: &str) {
        print_error(&plain(text));
    }

    fn result(&mut self, text: &str, _: &Value) {
        print_result(text);
    }

    fn failure(&mut self, failure: &Failure) {
        print_failure(failure);
    }
}
