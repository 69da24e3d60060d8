//! Where the data of a service lies.

use std::fmt;
use std::sync::Arc;

use kv_migrations::kv::{Answer, KvError, MemoryStore, Request, Store};
use kv_migrations::{BoxFuture, RunLock};
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
            Place::Binding(name) => Arc::new(Binding::new(name.clone(), environment)),
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

/// For a long migration of another namespace than the service's own, and for
/// [`Kv::with_store`](kv_migrations::kv::Kv::with_store). The binding is looked up for each operation, in the environment that
/// the runtime offers for import. With the compatibility flag `disallow_importable_env` give a store instead: `env.kv(…)`.
impl Store for Namespace {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(async move {
            if let Err(reason) = self.check(&Environment::default()) {
                let name = self.name();
                let message = match reason {
                    NoNamespace::NoEnvironment => {
                        "the Worker can import no environment: delete the flag `disallow_importable_env`, or give a store in \
                         place of the binding's name: `env.kv(…)`"
                            .to_owned()
                    }
                    NoNamespace::Missing => format!(
                        "the Worker has no KV binding `{name}`: give a KV namespace this `binding` under [[kv_namespaces]] in \
                         wrangler.toml"
                    ),
                    NoNamespace::OtherKind => format!(
                        "the binding `{name}` is not a KV namespace: give one this `binding` under [[kv_namespaces]] in \
                         wrangler.toml"
                    ),
                };
                return Err(request.refused(None, message));
            }
            self.store().call(request).await
        })
    }

    fn shared_lock(&self, service: &str) -> Option<RunLock> {
        self.store().shared_lock(service)
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

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use kv_migrations::kv::StoreExt;

    use super::*;

    #[test]
    fn a_name_that_is_no_kv_binding_fails_every_operation_and_says_what_to_write() {
        // Outside of the Workers runtime there is no binding at all.
        let error = block_on(Namespace::from("OLD_KV").get("user_1"));
        assert_eq!(
            error.expect_err("there is no such binding").to_string(),
            "KV get of `user_1` failed: the Worker has no KV binding `OLD_KV`: give a KV namespace this `binding` under \
             [[kv_namespaces]] in wrangler.toml"
        );
    }

    #[test]
    fn a_store_that_was_handed_over_is_used_as_it_is() {
        let store = MemoryStore::new();
        store.insert("user_1", "Ada");
        let entry = block_on(Namespace::from(store).get("user_1"));
        assert_eq!(entry.expect("it is read").expect("it is there").value, b"Ada");
    }
}
