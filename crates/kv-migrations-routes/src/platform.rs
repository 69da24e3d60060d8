//! What the Workers runtime offers: the environment, KV, a Durable Object's storage, its errors and its panics.
//!
//! Everything that calls JavaScript by `wasm-bindgen` is here. Uses the core crate's contracts for stores and storages,
//! and nothing else of this crate.

pub(crate) mod binding;
pub(crate) mod environment;
pub(crate) mod js_error;
pub(crate) mod object_storage;
pub(crate) mod panics;
