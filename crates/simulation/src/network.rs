//! An eventually consistent KV: one truth, and what each location sees of it.

mod binding;
mod history;
mod namespace;
mod weather;

pub use binding::{Binding, Current};
pub use namespace::{Namespace, Written};
pub use weather::Weather;

/// How many locations there can be.
pub const LOCATIONS: usize = 3;
