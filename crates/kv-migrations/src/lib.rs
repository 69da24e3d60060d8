#![doc = include_str!("lib.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(missing_docs)]
#![warn(missing_debug_implementations, unreachable_pub)]

pub mod clock;
pub mod kv;
pub mod log;

mod error;
mod id;
mod ledger;
mod lock;
mod migration;
mod plan;
mod registered;
mod report;
mod runner;

pub use error::{Error, Failure, Stage};
pub use id::InvalidId;
#[doc(hidden)]
pub use id::assert_ids;
pub use lock::RunLock;
pub use migration::{BoxError, Migration, Result};
pub use registered::RegistrationError;
pub use report::{Detail, RollbackReport, RunReport, State, Status};
pub use runner::Runner;
