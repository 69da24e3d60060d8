//! Which entries a backfill works on, and whether it reads their values.

use super::Backfill;
use crate::kv::{Key, Store};

impl<C> Backfill<C> {
    /// Reads no values: one operation less for 100 entries, and Cloudflare bills each value that is read, in bulk too. For
    /// what keys, metadata and expirations tell. [`Record::value`](crate::Record::value) is empty then, and [`Record::text`](crate::Record::text) and
    /// [`Record::json`](crate::Record::json) are errors.
    ///
    /// A key that was deleted a moment ago can still be listed, and is visited then.
    ///
    /// # Example
    /// ```
    /// use kv_migrations::{Backfill, Migration, Runner, kv::MemoryStore};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let malformed = Backfill::new("user_", async |_, user, _: &()| Ok(user.delete().await?))
    ///     .only(|key| key.name.trim_start_matches("user_").parse::<u64>().is_err())
    ///     .keys_only();
    ///
    /// let store = MemoryStore::new();
    /// store.insert("user_1", "Ada");
    /// store.insert("user_undefined", "oops");
    /// let migration = Migration::backfill("006_malformed", "Delete malformed keys", malformed);
    /// Runner::new(store.clone(), "my-service", vec![migration])?.run_pending(&()).await?;
    /// assert_eq!((store.value("user_1").is_some(), store.value("user_undefined")), (true, None));
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example()).unwrap();
    /// ```
    #[must_use]
    pub fn keys_only(mut self) -> Self {
        self.selection.read_keys_only();
        self
    }

    /// Passes over every entry for which `only` returns false. It sees the key with its metadata and expiration, and runs
    /// before anything is read, so that what it passes over costs nothing but the list. Such entries are counted nowhere.
    ///
    /// After the failure of an entry, or a write of the service beside it, `only` is asked again with the key as it is by
    /// then.
    ///
    /// # Example
    /// ```
    /// use kv_migrations::{Backfill, Migration, Runner, kv::MemoryStore};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// // Sessions that would stay for ever.
    /// let expiring = Backfill::new("session_", async |_, session, _: &()| {
    ///     Ok(session.put(session.value()).with_expiration_ttl(604_800).await?)
    /// })
    /// .only(|key| key.expiration.is_none());
    ///
    /// let store = MemoryStore::new();
    /// store.insert("session_1", "Ada");
    /// let migration = Migration::backfill("007_sessions", "Let sessions expire", expiring);
    /// Runner::new(store.clone(), "my-service", vec![migration])?.run_pending(&()).await?;
    /// let sessions = store.entries().into_iter().filter(|(key, _)| key.name == "session_1");
    /// assert!(sessions.into_iter().all(|(key, _)| key.expiration.is_some()));
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example()).unwrap();
    /// ```
    #[must_use]
    pub fn only(mut self, only: impl Fn(&Key) -> bool + Send + Sync + 'static) -> Self {
        self.selection.scope.set_only(only);
        self
    }

    /// Works on the entries of another namespace than the service's own, which the closure's `kv` stays.
    ///
    /// [`Record`](crate::Record) reads and writes there. The namespace is a [store](Store): in a Worker a
    /// `kv_migrations_routes::Namespace` by the name of its binding.
    ///
    /// Markers stay in the service's own namespace. In the other one only markers of this service are left out, whatever the
    /// prefix; data that begins so is counted in a warning. The budget and the six connections are for all namespaces
    /// together.
    ///
    /// # Example
    /// ```
    /// use kv_migrations::{Backfill, Migration, Runner, kv::MemoryStore};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let old = MemoryStore::new(); // in a Worker: `Namespace::from("OLD_KV")`
    /// old.insert("user_1", "Ada");
    /// let copied = Backfill::new("user_", async |kv, user, _: &()| Ok(kv.put(user.name(), user.value()).await?))
    ///     .in_namespace(old);
    ///
    /// let store = MemoryStore::new();
    /// let migration = Migration::backfill("009_users", "Copy users from the old namespace", copied);
    /// Runner::new(store.clone(), "my-service", vec![migration])?.run_pending(&()).await?;
    /// assert_eq!(store.value("user_1").unwrap(), b"Ada");
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example()).unwrap();
    /// ```
    #[must_use]
    pub fn in_namespace(mut self, store: impl Store + 'static) -> Self {
        self.selection.scope.set_store(store);
        self
    }
}
