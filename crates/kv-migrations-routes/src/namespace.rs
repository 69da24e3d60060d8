//! Where the data of a service lies, and the locks of this isolate on it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use kv_migrations::RunLock;
use kv_migrations::kv::{MemoryStore, Store};
use worker::kv::KvStore;

use crate::platform::binding::Binding;

/// A KV namespace: the name of a binding, or a store.
///
/// A binding is looked up in the Worker's environment each time it is used, so that naming one cannot fail. If the
/// Worker has no binding of this name, the operations on the namespace fail.
///
/// In one isolate, runs exclude each other if they have the same binding name and the same service. Stores that are
/// passed directly have no name, so there the service alone counts.
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

    /// The lock of a service in this namespace. Routes are often set up for each request, so the locks live as long
    /// as the isolate.
    pub(crate) fn run_lock(&self, service: &str) -> RunLock {
        static LOCKS: Mutex<Vec<(String, String, RunLock)>> = Mutex::new(Vec::new());
        let mut locks = LOCKS.lock().unwrap_or_else(PoisonError::into_inner);
        let known = locks.iter().find(|(name, other, _)| **name == *self.name && other == service);
        if let Some((_, _, lock)) = known {
            return lock.clone();
        }
        let lock = RunLock::new();
        locks.push((self.name.as_ref().to_owned(), service.to_owned(), lock.clone()));
        lock
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
