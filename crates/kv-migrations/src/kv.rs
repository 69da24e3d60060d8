//! The key-value store: the handle that migrations use, the contract of a store, and the stores.
//!
//! [`Kv`] is for callers, [`Store`] for implementers. Between them stands a policy (`kv/policy`): a store around a store
//! that counts operations, retries them, keeps to the connections and the budget, and stops a run that has lost its
//! lease. This folder uses `budget`, `lock` and `clock`, and knows nothing of migrations.

mod checks;
mod entry;
mod error;
mod fields;
mod handle;
mod json;
pub mod limits;
mod listing;
mod memory;
mod metadata;
mod policy;
mod put;
mod store;
#[cfg(feature = "worker")]
mod worker;

pub(crate) use checks::{bulk_value, check_bulk, check_bulk_values, check_key, check_put};
pub use entry::{BulkValue, Entry, Expiration, Key, ListOptions, Page, PutOptions};
pub use error::{KvError, KvErrorKind, Operation};
pub(crate) use fields::Fields;
pub use handle::Kv;
pub use json::JsonError;
pub(crate) use json::{parse as parse_json, without_byte_order_mark};
pub use listing::Keys;
pub(crate) use listing::find;
pub use memory::MemoryStore;
pub use metadata::{Metadata, MetadataError};
pub(crate) use policy::{Connections, EntryOperations, HighestCost, Namespaces, PAUSES, Policy};
pub use put::Put;
pub(crate) use put::writable;
pub(crate) use store::write;
pub use store::{Answer, Request, Store, StoreExt};
