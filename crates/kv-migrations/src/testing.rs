//! Tools for tests: a clock that a test sets, a log that keeps its lines, stores that fail on demand, and what every store
//! must do.

#[cfg(feature = "testing")]
pub mod conformance;
#[cfg(feature = "testing")]
mod faulty;
mod manual_clock;
mod memory_log;

#[cfg(feature = "testing")]
pub use faulty::{Fault, faulty};
pub use manual_clock::ManualClock;
pub use memory_log::MemoryLog;
