//! Where the data of a service lies.

use std::fmt;
use std::sync::Arc;

use kv_migrations::kv::{MemoryStore, Store};
use worker::kv::KvStore;

use crate::platform::binding::Binding;

/// A KV namespace: the name of a binding, or a store.
///
/// A binding is looked up in the Worker's environment each time it is used, so that naming one cannot fail. If the
/// Worker has no binding of this name, the operations on the namespace fail.
///
/// In one isolate, runs of the same service exclude each other, whatever its namespace: see
/// [`RunLock::of_process`](kv_migrations::RunLock::of_process).
///
/// # Example
/// ```
/// use kv_migrations::kv::MemoryStore;
/// use kv_migrations_routes::Namespace;
///
/// let bound = Namespace::from("MY_SERVICE_KV");
/// let in_memory = Namespace::from(MemoryStore::new());
/// # let _ = (bound, in_memory);
/// ```
#[derive(Clone)]
pub struct Namespace {
    /// The binding's name. Empty for a store.
    name: Arc<str>,
    store: Arc<dyn Store>,
}

impl Namespace {
    /// Returns the store, for a [`Kv`](kv_migrations::kv::Kv) of your own on it.
    pub fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
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
