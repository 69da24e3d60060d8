//! What is printed: results to the standard output, all else to the standard error.

mod bar;
mod contract;
mod json;
mod lines;
mod print;
mod words;

use std::io::{self, IsTerminal};

pub(crate) use contract::Output;

/// The one for the place where the program runs.
pub(crate) fn choose(for_machines: bool) -> Box<dyn Output> {
    if for_machines {
        Box::new(json::Json)
    } else if io::stderr().is_terminal() {
        Box::new(bar::Bar::default())
    } else {
        Box::new(lines::Lines::default())
    }
}
