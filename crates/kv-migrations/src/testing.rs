//! Tools for tests: a harness that runs migrations to their end, clocks and a log, stores that fail or lag on demand, the runtime
//! of a Durable Object, and what every store must do.
//!
//! This module may use all others of the crate; outside of tests, none uses it.

mod bulk;
mod changes;
pub mod conformance;
mod daily_quota;
mod delayed_kv;
mod executor;
mod fault;
mod harness;
mod manual_clock;
mod memory_log;
mod object_runtime;
mod virtual_time;

pub use bulk::BulkError;
pub use changes::Changes;
pub use daily_quota::daily_quota;
pub use delayed_kv::{Delay, DelayedKv, LOCATIONS, Origin, Visibility};
pub use executor::{Executor, Spawner, Stopped};
pub use fault::{Fault, faulty};
pub use harness::Harness;
pub use manual_clock::ManualClock;
pub use memory_log::MemoryLog;
pub use object_runtime::ObjectRuntime;
pub use virtual_time::VirtualTime;
