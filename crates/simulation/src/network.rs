//! KV as a world's requests reach it: writes take their time, fail, or arrive after their request was cut off.
//!
//! What each location sees of the writes that arrived is up to [`DelayedKv`](kv_migrations::testing::DelayedKv).

mod binding;
mod conditions;
mod namespace;
mod under_way;

pub use binding::{Binding, CurrentRun};
pub use conditions::NetworkConditions;
pub use namespace::Namespace;
pub use under_way::UnderWay;
