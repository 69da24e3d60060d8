//! The key-value store: the handle that migrations get, the contract that a store fulfils, and the stores.
//!
//! [`Kv`] is what callers use, [`Store`] what implementers write. Between the two stand the terms, a store
//! around a store: they count operations, retry what may be retried, and stop a run that has lost its lease.

mod connections;
mod counter;
mod entry;
mod error;
mod fields;
mod handle;
pub mod limits;
mod listing;
mod memory;
mod metadata;
mod put;
mod refusals;
mod store;
mod terms;
#[cfg(feature = "worker")]
mod worker;

#[cfg(feature = "testing")]
pub mod conformance;
#[cfg(feature = "testing")]
mod faulty;

pub(crate) use connections::Connections;
pub(crate) use counter::Counter;
pub use entry::{BulkValue, Entry, Expiration, Key, ListOptions, Page, PutOptions};
pub use error::{KvError, KvErrorKind, Operation};
#[cfg(feature = "testing")]
pub use faulty::{Fault, faulty};
pub(crate) use fields::Fields;
pub use handle::Kv;
pub use listing::Keys;
pub use memory::MemoryStore;
pub use metadata::Metadata;
use put::NotSerializable;
pub use put::Put;
pub(crate) use refusals::Refusals;
pub use store::{Answer, Request, Store, StoreExt};
use terms::OnTerms;
pub(crate) use terms::Terms;
