//! A log that keeps its lines.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::log::Log;

/// Keeps its lines, for assertions. Clones share them.
///
/// # Example
/// ```
/// use kv_migrations::log::Log;
/// use kv_migrations::testing::MemoryLog;
///
/// let log = MemoryLog::default();
/// log.clone().info("[Migration] Running 001_add_feature");
/// assert_eq!(log.lines(), ["[Migration] Running 001_add_feature"]);
/// ```
#[derive(Clone, Default)]
pub struct MemoryLog {
    lines: Arc<Mutex<Vec<String>>>,
}

impl MemoryLog {
    /// Returns every line so far.
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
