//! For people at a terminal: a bar that shows how far the migration is.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::contract::Output;
use super::print::{print_error, print_failure, print_result};
use super::words::{happened, why};
use crate::answer::Event;
use crate::exit::Failure;
use crate::job_state::Reason;
use crate::pace::{Pace, count};
use crate::text::plain;

#[derive(Default)]
pub(super) struct Bar {
    pace: Pace,
    drawn: Option<ProgressBar>,
    begun: String,
}

impl Bar {
    fn clear(&mut self) {
        if let Some(bar) = self.drawn.take() {
            bar.finish_and_clear();
        }
    }

    /// The bar, with a length if it is known.
    fn shown(&mut self, total: Option<u64>) -> &ProgressBar {
        let bar = self
            .drawn
            .get_or_insert_with(|| ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()));
        let template =
            if total.is_some() { "{prefix} [{bar:30}] {percent:>3}% {msg}" } else { "{prefix} {msg}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_length(total.unwrap_or_default());
        bar
    }
}

impl Output for Bar {
    fn event(&mut self, event: &Event, _: &str, now: Duration) {
        if let Some(progress) = &event.progress {
            let measured = self.pace.measure(&event.id, progress, now).text();
            let prefix = plain(&format!("{} {}", event.id, progress.phase));
            let bar = self.shown(progress.total);
            bar.set_prefix(prefix);
            bar.set_position(progress.done.min(progress.total.unwrap_or(u64::MAX)));
            bar.set_message(format!("{}  {measured}", count(progress)));
        }
        if event.kind == "started" && std::mem::replace(&mut self.begun, event.id.clone()) == event.id {
            return;
        }
        if let Some(text) = happened(event) {
            self.clear();
            print_error(&text);
        }
    }

    fn wait(&mut self, seconds: u64, reason: &Reason) {
        if *reason != Reason::Continues || seconds > 5 {
            self.note(&format!("waits {seconds} s: {}", why(reason)));
        }
    }

    fn note(&mut self, text: &str) {
        match &self.drawn {
            Some(bar) => bar.suspend(|| print_error(&plain(text))),
            None => print_error(&plain(text)),
        }
    }

    fn result(&mut self, text: &str, _: &Value) {
        self.clear();
        print_result(text);
    }

    fn failure(&mut self, failure: &Failure) {
        self.clear();
        print_failure(failure);
    }
}
