//! The Durable Object's side of a coordinator: its class, and what it answers. [`remote`](crate::remote) is the Worker's
//! side.
//!
//! May use everything but `mount/`; nothing uses it.

mod handler;
pub(crate) mod object;
