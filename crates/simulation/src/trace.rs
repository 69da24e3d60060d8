//! What happened in a world, line by line.

use std::sync::{Arc, Mutex, PoisonError};

use crate::time::Time;

/// The lines, if they are kept at all: of most worlds nobody wants to read them. Clones are the same.
#[derive(Debug, Clone)]
pub struct Trace {
    time: Time,
    lines: Option<Arc<Mutex<Vec<String>>>>,
}

impl Trace {
    /// One that keeps its lines, or none.
    pub fn new(time: Time, is_kept: bool) -> Self {
        Self { time, lines: is_kept.then(Arc::default) }
    }

    /// Adds a line, with the time before it.
    pub fn note(&self, line: impl FnOnce() -> String) {
        if let Some(lines) = &self.lines {
            let now = self.time.elapsed();
            let line = format!("{:>6}.{:03} s  {}", now / 1000, now % 1000, line());
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        let lines = self.lines.as_ref();
        lines.map(|lines| lines.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap_or_default()
    }
}
