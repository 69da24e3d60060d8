//! An eventually consistent KV: one truth, and what each location sees of it.

mod history;
mod namespace;
mod session;
mod weather;

pub use namespace::{Namespace, Written};
pub use session::{Current, Session};
pub use weather::Weather;

/// How many locations there can be.
pub const LOCATIONS: usize = 3;
