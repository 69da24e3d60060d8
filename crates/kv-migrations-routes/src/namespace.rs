//! Where the data of a service lies.

use std::fmt;
use std::sync::Arc;

use kv_migrations::kv::{MemoryStore, Store};
use worker::kv::KvStore;

use crate::binding::Binding;

/// A KV namespace: the name of a binding, looked up in the Worker's environment when it is needed, or a store that
/// is handed over.
///
/// Runs of one service exclude each other by the binding's name and the service's prefix; where a store is handed
/// over, by the prefix alone.
#[derive(Clone)]
pub struct Namespace {
    /// The binding's name, or nothing: what runs must not overlap on.
    pub(crate) name: Arc<str>,
    store: Arc<dyn Store>,
}

impl Namespace {
    /// The store, for a [`Kv`](kv_migrations::kv::Kv) of your own on it.
    pub fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }
}

impl From<&str> for Namespace {
    fn from(binding: &str) -> Self {
        binding.to_owned().into()
    }
}

impl From<String> for Namespace {
    fn from(binding: String) -> Self {
        Self { name: binding.as_str().into(), store: Arc::new(Binding(binding)) }
    }
}

impl From<Arc<dyn Store>> for Namespace {
    fn from(store: Arc<dyn Store>) -> Self {
        Self { name: "".into(), store }
    }
}

impl From<KvStore> for Namespace {
    fn from(store: KvStore) -> Self {
        (Arc::new(store) as Arc<dyn Store>).into()
    }
}

impl From<MemoryStore> for Namespace {
    fn from(store: MemoryStore) -> Self {
        (Arc::new(store) as Arc<dyn Store>).into()
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace").field("name", &self.name).finish_non_exhaustive()
    }
}
