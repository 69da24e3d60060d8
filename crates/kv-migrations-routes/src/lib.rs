#![doc = include_str!("lib.md")]
#![deny(missing_docs)]
#![warn(missing_debug_implementations, unreachable_pub)]
// The layers of this crate. Imports run down only.
//
// mount/     coordinator/   where requests arrive: in a Worker, or in its Durable Object
// client                    where code of the Worker asks
// routes                    how the routes are set up, and who answers a request
// access                    who has access
// local      remote         who answers: a runner in this isolate, or the Durable Object
// response/  namespace      answers; where the data lies
// request/   platform/      requests; what the runtime offers

mod access;
mod client;
mod coordinator;
mod local;
mod mount;
mod namespace;
mod platform;
mod remote;
mod request;
mod response;
mod routes;

pub use client::{Client, ClientError};
#[doc(hidden)]
pub use coordinator::object::CoordinatorObject;
pub use mount::body::ResponseBody;
pub use mount::layer::{ResponseFuture, WithMigrationRoutes};
pub use mount::service::RoutesFuture;
pub use namespace::Namespace;
#[doc(hidden)]
pub use platform::object_storage::ObjectStorage;
pub use request::head::RequestHead;
pub use response::body::Body;
pub use routes::{CoordinatorBinding, MigrationRoutes, migration_routes, migration_routes_with_context};

/// The code in the README and in the pages of the documentation compiles, and what it asserts holds.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../../README.md")]
    mod readme {}

    #[doc = include_str!("../../../docs/page.md")]
    mod page {}

    #[doc = include_str!("../../../docs/start.md")]
    mod start {}

    #[doc = include_str!("../../../docs/migrations.md")]
    mod migrations {}

    #[doc = include_str!("../../../docs/long-migrations.md")]
    mod long_migrations {}

    #[doc = include_str!("../../../docs/testing.md")]
    mod testing {}

    #[doc = include_str!("../../../docs/mounting.md")]
    mod mounting {}

    #[doc = include_str!("../../../docs/coordinator.md")]
    mod coordinator {}

    #[doc = include_str!("../../../docs/from-typescript.md")]
    mod from_typescript {}

    #[doc = include_str!("../../../docs/troubleshooting.md")]
    mod troubleshooting {}
}
