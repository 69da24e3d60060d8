//! The Durable Object's side of a coordinator: its class, and what it answers. [`remote`](crate::remote) is the Worker's
//! side.
//!
//! Uses the whole stack below it, [`routes`](crate::routes) included; nothing uses it.

mod handler;
pub(crate) mod object;
