//! What happened in a world, line by line.

use std::sync::{Arc, Mutex, PoisonError};

use kv_migrations::clock::Clock;
use kv_migrations::testing::VirtualTime;

use crate::time::start;

/// Whether a world keeps a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracing {
    /// It keeps no lines: most worlds are never looked at.
    Off,
    /// It keeps all lines.
    On,
}

/// The lines of a world. Clones share them.
#[derive(Debug, Clone)]
pub struct Trace {
    time: VirtualTime,
    lines: Option<Arc<Mutex<Vec<String>>>>,
}

impl Trace {
    /// A trace without lines.
    pub fn new(time: VirtualTime, tracing: Tracing) -> Self {
        Self { time, lines: (tracing == Tracing::On).then(Arc::default) }
    }

    /// Adds a line with the time.
    pub fn add(&self, line: impl FnOnce() -> String) {
        if let Some(lines) = &self.lines {
            let elapsed = self.time.now().duration_since(start()).unwrap_or_default();
            let line = format!("{:>6}.{:03} s  {}", elapsed.as_secs(), elapsed.subsec_millis(), line());
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        let lines = self.lines.as_ref();
        lines.map(|lines| lines.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap_or_default()
    }
}
