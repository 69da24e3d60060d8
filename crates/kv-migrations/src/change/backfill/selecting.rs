//! Which entries a backfill works on, and whether it reads their values.

use super::Backfill;
use crate::kv::Key;

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
}
