//! Where a run writes its log lines.
//!
//! Ids, keys and errors can hold what visitors chose. `escape` is the one place where a line becomes safe to print.

use std::fmt::Write;
use std::sync::Arc;

/// Receives the log lines of a run.
///
/// Lines hold ids, descriptions, durations, and what a migration itself puts into its error; never a value from KV. Each
/// is a single line of visible text: a line break, a control character, or a character that changes the direction of
/// text is written as `\u{…}`.
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
        worker::console_log!("{}", escape(line));
    }

    fn error(&self, line: &str) {
        worker::console_error!("{}", escape(line));
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Log for ConsoleLog {
    fn info(&self, line: &str) {
        eprintln!("{}", escape(line));
    }

    fn error(&self, line: &str) {
        eprintln!("{}", escape(line));
    }
}

/// A log that gets only lines that are safe to print. All that a runner logs passes it.
#[derive(Clone)]
pub(crate) struct EscapedLog(pub(crate) Arc<dyn Log>);

impl EscapedLog {
    pub(crate) fn info(&self, line: &str) {
        self.0.info(&escape(line));
    }

    pub(crate) fn error(&self, line: &str) {
        self.0.error(&escape(line));
    }
}

/// The text as a single line that a terminal shows as it is. Escaping it again changes nothing.
fn escape(line: &str) -> String {
    let mut escaped = String::new();
    for character in line.chars() {
        if is_unsafe(character) {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "\\u{{{:x}}}", u32::from(character));
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Whether a character ends a line, controls a terminal, or makes text look like other text.
pub(crate) fn is_unsafe(character: char) -> bool {
    // C0, DEL and C1.
    character.is_control()
        || matches!(
            character,
            // Marks, embeddings, overrides and isolates of the direction of text.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // The line and the paragraph separator.
            | '\u{2028}' | '\u{2029}'
            // Characters without a width, tags among them; not the joiners, which some scripts need.
            | '\u{ad}' | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{206a}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_cannot_forge_a_line_or_control_a_terminal() {
        for (line, expected) in [
            ("user_x\n[Migration] ✓ Completed 002_forged", "user_x\\u{a}[Migration] ✓ Completed 002_forged"),
            ("a\r\u{85}\u{2028}\u{2029}b", "a\\u{d}\\u{85}\\u{2028}\\u{2029}b"),
            ("\u{1b}[2J\u{9b}2J\u{7f}\0", "\\u{1b}[2J\\u{9b}2J\\u{7f}\\u{0}"),
            ("\u{202e}dekcits\u{2066}\u{200f}", "\\u{202e}dekcits\\u{2066}\\u{200f}"),
            ("user\u{200b}_\u{feff}1\u{e0041}", "user\\u{200b}_\\u{feff}1\\u{e0041}"),
        ] {
            assert_eq!(escape(line), expected);
            assert_eq!(escape(expected), expected, "escaping twice changes nothing");
        }
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        for line in ["", "[Migration] ✗ Migration 002 failed: boom", "Größe \"1\\2\" — 名前 שם 👩 …"]
        {
            assert_eq!(escape(line), line);
        }
    }
}
