//! Who does something in a world.

mod caller;
mod isolate;
mod service;

pub use caller::{Caller, call_until_finished, call_while_it_is_bad};
pub use isolate::{Answered, Isolate};
pub use service::serve;
