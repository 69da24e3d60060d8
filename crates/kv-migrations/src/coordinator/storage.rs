//! What one object keeps: its rows, and what lies in them.
//!
//! `contract` is what a runtime implements, `memory` implements it for tests. `rows` reads and writes rows of JSON. On
//! it lie the `lease` (with `fenced`, a store that needs it), the `journal` of `marker` rows and its `mirror` to KV,
//! what a run was `asked` for and has `applied`, the `history`, and the `allowance` of writes a day. This folder uses the coordinator's `report` and `observer`, and from
//! the crate `ledger` and what is below it. It knows no task.

pub(super) mod allowance;
pub(super) mod applied;
pub(super) mod asked;
mod contract;
mod fenced;
pub(super) mod history;
pub(super) mod journal;
pub(super) mod lease;
mod marker;
mod memory;
pub(super) mod mirror;
pub(super) mod rows;

pub(super) use allowance::Allowance;
pub use contract::{RowChange, Storage, StorageError};
pub(super) use fenced::{Fence, FencedStore, Purpose};
pub(super) use lease::{Lease, LeaseError};
pub use memory::MemoryStorage;
