//! What the Workers runtime offers: the environment, KV, a Durable Object's storage, its errors and its panics.
//!
//! All declarations of JavaScript's functions are here. Uses the core crate, whose contracts for stores and storages it
//! fulfils, and nothing else of this crate.

pub(crate) mod binding;
pub(crate) mod environment;
pub(crate) mod js_error;
pub(crate) mod object_storage;
pub(crate) mod panics;
pub(crate) mod told;
