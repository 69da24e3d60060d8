//! Where a run writes its log lines.

/// Receives the log lines of a run.
///
/// Lines hold ids, descriptions, durations, and what a migration itself puts into its error; never a value from KV.
pub trait Log: Send + Sync {
    /// Writes a line about something that went well.
    fn info(&self, line: &str);

    /// Writes a line about a failure.
    fn error(&self, line: &str);
}

/// Writes to the console: in a Worker to its log, else to standard error.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConsoleLog;

#[cfg(target_arch = "wasm32")]
impl Log for ConsoleLog {
    fn info(&self, line: &str) {
        worker::console_log!("{line}");
    }

    fn error(&self, line: &str) {
        worker::console_error!("{line}");
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Log for ConsoleLog {
    fn info(&self, line: &str) {
        eprintln!("{line}");
    }

    fn error(&self, line: &str) {
        eprintln!("{line}");
    }
}
