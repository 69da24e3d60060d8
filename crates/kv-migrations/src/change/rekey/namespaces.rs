//! A re-key from one namespace into another.

use std::sync::Arc;

use super::Rekey;
use super::direction::Direction;
use super::mapping::NewKeys;
use super::two_namespaces::TwoNamespaces;
use crate::kv::{Kv, Store};
use crate::session::Session;

impl<C: ?Sized, T> Rekey<C, T> {
    /// Moves the entries of another namespace than the service's own, which the new keys are in: unless
    /// [`into_namespace`](Self::into_namespace) names one for these as well.
    ///
    /// A namespace is a [store](Store): in a Worker a `kv_migrations_routes::Namespace` by the name of its binding. There a key
    /// that stays the same is a move too, so that a mapping returns `None` for an entry that stays. All phases, collisions
    /// and parts of a re-key are as within one namespace, and a rollback goes the other way.
    ///
    /// Markers stay in the service's own namespace. In another one only markers of this service are left out, whatever the
    /// prefix; data that begins so is counted in a warning. In the service's own one everything that begins with `migration_`
    /// is left out, as in any migration, also by a rollback. The budget and the six connections are for all namespaces
    /// together.
    ///
    /// # Example
    /// ```
    /// use kv_migrations::{Migration, Rekey, Runner, kv::MemoryStore};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let old = MemoryStore::new(); // in a Worker: `Namespace::from("OLD_KV")`
    /// old.insert("user_1", "Ada");
    /// let all = Rekey::prefix("", "").in_namespace(old.clone());
    ///
    /// let store = MemoryStore::new();
    /// let migration = Migration::rekey("012_all", "All from the old namespace", all);
    /// let runner = Runner::new(store.clone(), "my-service", vec![migration])?;
    /// runner.run_pending(&()).await?; // and again, after the wait that it asks for
    /// assert_eq!(store.value("user_1").unwrap(), b"Ada");
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example()).unwrap();
    /// ```
    #[must_use]
    pub fn in_namespace(mut self, store: impl Store + 'static) -> Self {
        self.direction.mapping.set_namespace(Some(Arc::new(store)));
        self.direction.distinct = Some(&TwoNamespaces);
        self
    }

    /// Moves the entries into another namespace than the service's own. For the rest it is like
    /// [`in_namespace`](Self::in_namespace), which says where the entries are, if they are not in the service's own.
    ///
    /// # Example
    /// ```
    /// use kv_migrations::{Migration, Rekey, Runner, kv::MemoryStore};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let new = MemoryStore::new(); // in a Worker: `Namespace::from("NEW_KV")`
    /// let users = Rekey::prefix("user_", "user:").into_namespace(new.clone());
    ///
    /// let store = MemoryStore::new();
    /// store.insert("user_1", "Ada");
    /// let migration = Migration::rekey("013_users", "user_… to user:… in the new namespace", users);
    /// let runner = Runner::new(store, "my-service", vec![migration])?;
    /// runner.run_pending(&()).await?; // and again, after the wait that it asks for
    /// assert_eq!(new.value("user:1").unwrap(), b"Ada");
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example()).unwrap();
    /// ```
    #[must_use]
    pub fn into_namespace(mut self, store: impl Store + 'static) -> Self {
        self.direction.into = Some(Arc::new(store));
        self.direction.distinct = Some(&TwoNamespaces);
        self
    }
}

impl<C: ?Sized, T> Direction<C, T> {
    /// The namespace of the new keys.
    pub(super) fn new_namespace(&self, session: &Session<'_>) -> Kv {
        match &self.into {
            None => session.kv.clone(),
            Some(store) => session.kv.in_namespace(store.clone()),
        }
    }

    /// The namespaces that it names.
    pub(super) fn named_namespaces(&self, session: &Session<'_>) -> Vec<Kv> {
        let named = [self.mapping.scope().namespace(), self.into.as_ref()];
        named.into_iter().flatten().map(|store| session.kv.in_namespace(store.clone())).collect()
    }

    /// What a checkpoint knows this by.
    pub(super) fn name_of(&self, kind: &str) -> String {
        let mut name = format!("{kind} {}", self.mapping.scope().text());
        if self.into.is_some() {
            name.push_str(" into another namespace");
        }
        name
    }

    pub(super) fn new_keys(&self) -> NewKeys {
        match (&self.into, self.mapping.scope().is_elsewhere()) {
            (None, false) => NewKeys::BesideOld,
            (None, true) => NewKeys::InOwnNamespace,
            (Some(_), _) => NewKeys::InAnotherNamespace,
        }
    }
}
