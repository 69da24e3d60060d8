//! How far it has got, for the one who waits.

use std::borrow::Cow;
use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;

/// What an answer says of a migration that is under way.
#[derive(Deserialize)]
pub(super) struct Progress {
    pub(super) phase: String,
    pub(super) done: u64,
    pub(super) total: Option<u64>,
}

impl Progress {
    /// Whether at least a quarter is done, or it is not known how much that is.
    pub(super) fn is_under_way(&self) -> bool {
        self.done > 0 && self.total.is_none_or(|total| self.done * 4 >= total)
    }
}

pub(super) fn bar(title: impl Into<Cow<'static, str>>, length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    // A template that cannot be read would be a plain bar.
    if let Ok(style) = ProgressStyle::with_template("{prefix:15} {msg:8} {wide_bar} {human_pos}/{human_len}")
    {
        bar.set_style(style);
    }
    bar.with_prefix(title)
}

/// The bar of the migration that is under way.
pub(super) struct Bars {
    bar: ProgressBar,
    id: String,
    phase: String,
}

impl Bars {
    pub(super) fn new() -> Self {
        Self { bar: ProgressBar::hidden(), id: String::new(), phase: String::new() }
    }

    pub(super) fn show(&mut self, id: &str, progress: &Progress) {
        if self.id != id {
            self.finish();
            id.clone_into(&mut self.id);
            self.bar = bar(id.to_owned(), progress.total.unwrap_or_default());
        }
        if self.phase != progress.phase {
            self.phase.clone_from(&progress.phase);
            if !stderr().is_terminal() {
                println!("{id}: {}", self.phase);
            }
        }
        match progress.total {
            Some(total) => self.bar.set_length(total),
            None => self.bar.unset_length(),
        }
        self.bar.set_message(progress.phase.clone());
        self.bar.set_position(progress.done);
    }

    /// Says it above the bar; or instead of it, where nobody watches.
    pub(super) fn tell(&self, line: &str) {
        if stderr().is_terminal() {
            self.bar.println(line);
        } else {
            println!("{line}");
        }
    }

    pub(super) fn finish(&self) {
        self.bar.finish();
    }
}
