//! Where a run writes its log lines.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Takes the lines that tell what a run does.
///
/// Lines hold ids, descriptions, durations and what a migration itself put into its error; never a value from KV.
pub trait Log: Send + Sync {
    /// Something went as it should.
    fn info(&self, line: &str);

    /// Something failed.
    fn error(&self, line: &str);
}

/// The console: a Worker's log with the feature `worker`, else standard error.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConsoleLog;

#[cfg(all(feature = "worker", target_arch = "wasm32"))]
impl Log for ConsoleLog {
    fn info(&self, line: &str) {
        worker::console_log!("{line}");
    }

    fn error(&self, line: &str) {
        worker::console_error!("{line}");
    }
}

#[cfg(not(all(feature = "worker", target_arch = "wasm32")))]
impl Log for ConsoleLog {
    fn info(&self, line: &str) {
        eprintln!("{line}");
    }

    fn error(&self, line: &str) {
        eprintln!("{line}");
    }
}

/// Keeps its lines, for tests. Clones share them.
#[derive(Clone, Default)]
pub struct MemoryLog {
    lines: Arc<Mutex<Vec<String>>>,
}

impl MemoryLog {
    /// Every line so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn push(&self, line: &str) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned());
    }
}

impl Log for MemoryLog {
    fn info(&self, line: &str) {
        self.push(line);
    }

    fn error(&self, line: &str) {
        self.push(line);
    }
}

impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lines()).finish()
    }
}
