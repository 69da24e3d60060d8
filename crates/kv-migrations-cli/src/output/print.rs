//! The two streams of the program.

use std::io::{self, Write};

use crate::exit::Failure;
use crate::text::plain;

/// A reader that has gone, as `head` does, is no failure.
pub(super) fn print(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

pub(super) fn print_error(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

pub(super) fn print_result(text: &str) {
    print(&plain(text));
    if !text.is_empty() && !text.ends_with('\n') {
        print("\n");
    }
}

pub(super) fn print_failure(failure: &Failure) {
    print_error(&plain(&format!("error: {failure}")));
}
