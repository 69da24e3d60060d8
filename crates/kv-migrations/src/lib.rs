#![doc = include_str!("lib.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(missing_docs)]
#![warn(missing_debug_implementations, unreachable_pub)]

pub mod clock;
pub mod coordinator;
pub mod kv;
pub mod log;
#[cfg(feature = "sabotage")]
#[doc(hidden)]
pub mod sabotage;

mod backfill;
mod budget;
mod change;
mod error;
mod event;
mod fold;
mod id;
mod job;
mod ledger;
mod lock;
mod migration;
mod plan;
mod progress;
mod record;
mod registered;
mod rekey;
mod report;
mod resumable;
mod run;
mod runner;
#[cfg(not(feature = "sabotage"))]
mod sabotage;
mod values;
mod walk;

pub use backfill::Backfill;
pub use budget::Budget;
pub use error::{Error, Failure, ForeignMarker, Stage};
pub use event::Event;
pub use fold::{Fold, Write};
pub use id::InvalidId;
#[doc(hidden)]
pub use id::assert_ids;
pub use lock::RunLock;
pub use migration::{BoxError, Migration, Result};
pub use progress::{Direction, Progress};
pub use record::Record;
pub use registered::RegistrationError;
pub use rekey::{Collisions, Rekey};
pub use report::{Detail, FailedEntry, RollbackReport, RunReport, State, Status};
pub use runner::Runner;
