#![doc = include_str!("lib.md")]
#![deny(missing_docs)]
#![warn(missing_debug_implementations, unreachable_pub)]

mod access;
mod answer;
mod binding;
mod body;
mod coordinated;
mod environment;
mod events;
mod fetch;
mod forward;
mod head;
mod layer;
mod locks;
mod namespace;
mod object;
mod object_storage;
mod problem;
mod query;
mod response;
mod route;
mod routes;
mod service;
mod survivor;
mod thrown;

pub use body::Body;
pub use layer::WithMigrationRoutes;
pub use namespace::Namespace;
#[doc(hidden)]
pub use object::CoordinatorObject;
#[doc(hidden)]
pub use object_storage::ObjectStorage;
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
