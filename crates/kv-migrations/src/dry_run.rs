//! Running migrations without writing anything: the stores and the records of a [`Runner::dry_run`](crate::Runner::dry_run).
//!
//! The code of a run works on an [overlay](overlay::Overlay) in front of each namespace, which reads through and keeps what is
//! written. `slots` is what an overlay keeps, `page` merges it into lists, and `recorder` gathers the report. This folder uses
//! `kv`, `ledger` and what is below them; the runner drives it.

mod options;
mod overlay;
mod page;
mod recorder;
mod shared;
mod slots;
mod stores;

pub use options::{DryRun, Known};
pub(crate) use stores::{DryRunStores, NoLog};
