//! Who does something in a world.

mod asker;
mod caller;
mod instance;
mod isolate;
mod object;
mod rows;
mod service;

pub use asker::{ask_until_finished, ask_while_it_is_bad};
pub use caller::{Caller, call_until_finished, call_while_it_is_bad};
pub use isolate::{Answered, Isolate};
pub use object::{Object, ring_alarms};
pub use service::serve;

/// After so many requests a calm world must be finished.
const MOST_REQUESTS: usize = 400;
/// What a re-key says that has found two forms of an entry.
const ASKS_FOR_HELP: &str = "there is something else";
/// What a re-key says that found entries changed in every sweep.
const WRITES_TOO_OFTEN: &str = "entries change faster than they can be moved";
