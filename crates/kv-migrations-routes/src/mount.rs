//! The ways to mount the routes: in front of a service, as a service, and beside `worker::Router`.
//!
//! Each takes its own type of request, gets the answer from [`routes`](crate::routes), and returns it as its own type of
//! response. May use everything but `coordinator/`; nothing uses it.

pub(crate) mod body;
mod fetch;
pub(crate) mod layer;
pub(crate) mod service;
