//! Where the data of a service lies.

use std::fmt;
use std::sync::Arc;

use kv_migrations::kv::{MemoryStore, Store};
use worker::kv::KvStore;

use crate::platform::binding::{Binding, NoNamespace, check};
use crate::platform::environment::Environment;

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
pub struct Namespace(Place);

#[derive(Clone)]
enum Place {
    /// A binding, by its name.
    Binding(Arc<str>),
    Store(Arc<dyn Store>),
}

impl Namespace {
    /// Returns the store, for a [`Kv`](kv_migrations::kv::Kv) of your own on it.
    ///
    /// A binding is looked up in the environment that the runtime offers for import.
    pub fn store(&self) -> Arc<dyn Store> {
        self.store_in(&Environment::default())
    }

    pub(crate) fn store_in(&self, environment: &Environment) -> Arc<dyn Store> {
        match &self.0 {
            Place::Binding(name) => {
                Arc::new(Binding { name: name.clone(), environment: environment.clone() })
            }
            Place::Store(store) => store.clone(),
        }
    }

    /// Checks that a name is that of a KV namespace. A store that was handed over is one.
    pub(crate) fn check(&self, environment: &Environment) -> Result<(), NoNamespace> {
        match &self.0 {
            Place::Binding(name) => check(name, environment),
            Place::Store(_) => Ok(()),
        }
    }

    /// The binding's name. Empty for a store.
    pub(crate) fn name(&self) -> &str {
        match &self.0 {
            Place::Binding(name) => name,
            Place::Store(_) => "",
        }
    }
}

impl From<&str> for Namespace {
    fn from(binding: &str) -> Self {
        binding.to_owned().into()
    }
}

impl From<String> for Namespace {
    fn from(binding: String) -> Self {
        Self(Place::Binding(binding.into()))
    }
}

impl From<Arc<dyn Store>> for Namespace {
    fn from(store: Arc<dyn Store>) -> Self {
        Self(Place::Store(store))
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
        f.debug_struct("Namespace").field("name", &self.name()).finish_non_exhaustive()
    }
}
