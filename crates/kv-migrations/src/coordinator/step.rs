//! One step of a run or a rollback, by the instance that has the lease.
//!
//! `context` is what a step works with, `take` runs the runner, `result` says how the step ended, `total` adds what the
//! steps before did. This folder uses `adopt`, `records` and what is below them.

mod context;
mod result;
mod take;
mod total;

pub(super) use context::Step;
pub(super) use result::StepResult;
pub(super) use take::{mark_failed, take};
pub(super) use total::total;
