//! The ways to mount the routes: in front of a service, as a service, and beside `worker::Router`.
//!
//! Each takes its own type of request, asks [`MigrationRoutes`](crate::MigrationRoutes) for the answer, and gives it back
//! in its own type of response. Uses [`routes`](crate::routes), [`request`](crate::request) and
//! [`response`](crate::response); nothing uses it.

pub(crate) mod body;
mod fetch;
pub(crate) mod layer;
pub(crate) mod service;
