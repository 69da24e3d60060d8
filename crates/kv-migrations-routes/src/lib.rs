#![doc = include_str!("lib.md")]
#![deny(missing_docs)]
#![warn(missing_debug_implementations, unreachable_pub)]

mod access;
mod binding;
mod body;
mod environment;
mod events;
mod fetch;
mod head;
mod layer;
mod locks;
mod namespace;
mod problem;
mod query;
mod response;
mod route;
mod routes;
mod service;

pub use body::Body;
pub use layer::WithMigrationRoutes;
pub use namespace::Namespace;
pub use routes::{MigrationRoutes, migration_routes, migration_routes_with_context};
pub use service::ResponseFuture;

/// The code in the README and in the guide compiles, and what it asserts holds.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../../README.md")]
    mod readme {}

    #[doc = include_str!("../../../docs/guide.md")]
    mod guide {}
}
