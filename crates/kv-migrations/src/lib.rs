#![doc = include_str!("lib.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(missing_docs)]
#![warn(missing_debug_implementations, unreachable_pub)]

#[cfg(all(target_arch = "wasm32", not(feature = "worker")))]
compile_error!(
    "for WebAssembly, kv-migrations needs its feature `worker`: time and log come from the Workers runtime"
);

pub mod clock;
pub mod coordinator;
pub mod kv;
pub mod log;
#[cfg(feature = "sabotage")]
#[doc(hidden)]
pub mod sabotage;
#[cfg(feature = "testing")]
pub mod testing;

mod budget;
mod change;
mod dry_run;
mod error;
mod future;
mod id;
mod ledger;
mod lock;
mod migration;
mod random;
mod report;
mod runner;
#[cfg(not(feature = "sabotage"))]
mod sabotage;
mod session;
mod text;

pub use budget::Budget;
pub use change::{
    AnyContext, Backfill, Collisions, Fold, FoldOutput, MovingEntry, Prefixes, Record, Rekey, RekeyFor,
};
pub use dry_run::DryRun;
#[doc(hidden)]
pub use dry_run::Known;
pub use error::{BoxError, Error, Failure, ForeignMarker, Result, Stage, reason};
pub use future::BoxFuture;
#[doc(hidden)]
pub use id::declared::assert_ids;
pub use id::{InvalidId, RegistrationError};
pub use lock::RunLock;
pub use migration::Migration;
pub use report::{
    AppliedMigration, Direction, DryRunChange, DryRunEntry, DryRunFinding, DryRunFindingKind,
    DryRunMigration, DryRunReport, DryRunStop, EntryCounts, Event, FailedEntry, Finding, FindingKind,
    MigrationKind, Phase, PlanReport, Progress, RollbackReport, RunReport, State, Status, StatusReport,
};
pub use runner::{Correction, Runner, Until};
#[doc(hidden)]
pub use text::listed;
