//! Tools for tests: clocks and a log, stores that fail or lag on demand, the runtime of a Durable Object, and what every
//! store must do.
//!
//! This module may use all others of the crate; outside of tests, none uses it.

#[cfg(feature = "testing")]
pub mod conformance;
#[cfg(feature = "testing")]
mod delayed_kv;
#[cfg(feature = "testing")]
mod executor;
#[cfg(feature = "testing")]
mod faulty;
mod manual_clock;
#[cfg(feature = "testing")]
mod memory_log;
#[cfg(feature = "testing")]
mod object_runtime;
#[cfg(feature = "testing")]
mod virtual_time;

#[cfg(feature = "testing")]
pub use delayed_kv::{Delay, DelayedKv, LOCATIONS, Origin, Visibility};
#[cfg(feature = "testing")]
pub use executor::{Executor, Spawner, Stopped};
#[cfg(feature = "testing")]
pub use faulty::{Fault, faulty};
pub use manual_clock::ManualClock;
#[cfg(feature = "testing")]
pub use memory_log::MemoryLog;
#[cfg(feature = "testing")]
pub use object_runtime::ObjectRuntime;
#[cfg(feature = "testing")]
pub use virtual_time::VirtualTime;
