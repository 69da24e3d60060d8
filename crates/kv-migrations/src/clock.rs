//! Time, injected: what a run reads the time from and waits with.

mod calendar;
mod skipping;
mod system;
mod time;
#[cfg(target_arch = "wasm32")]
mod timer;

pub(crate) use calendar::{iso8601, parse_iso8601};
pub(crate) use skipping::SkippingClock;
pub use system::{Clock, SystemClock};
pub(crate) use time::{
    at_milliseconds, between, day, later, milliseconds, milliseconds_between, seconds, until_quota_begins,
};
