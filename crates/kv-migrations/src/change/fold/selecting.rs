//! Which entries a fold gathers from, and whether it reads their values.

use super::Fold;
use crate::kv::{Key, Store};

impl<C, S> Fold<C, S> {
    /// Reads no values: one operation less for 100 entries, and Cloudflare bills each value that is read, in bulk too. For
    /// what keys, metadata and expirations tell. [`Record::value`](crate::Record::value) is empty then, and [`Record::text`](crate::Record::text) and
    /// [`Record::json`](crate::Record::json) are errors.
    ///
    /// A key that was deleted a moment ago can still be listed, and counts then.
    ///
    /// # Example
    /// ```
    /// use kv_migrations::{Fold, FoldOutput, Migration, Runner, kv::MemoryStore};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let names = Fold::new(
    ///     "user_",
    ///     Vec::new,
    ///     |names: &mut Vec<String>, user, _: &()| Ok(names.push(user.name().to_owned())),
    ///     |names, _| Ok(vec![FoldOutput::json("users", names)?]),
    /// )
    /// .keys_only();
    ///
    /// let store = MemoryStore::new();
    /// store.insert("user_1", "Ada");
    /// store.insert("user_2", "Bob");
    /// let migration = Migration::fold("005_names", "Index all users", names);
    /// Runner::new(store.clone(), "my-service", vec![migration])?.run_pending(&()).await?;
    /// assert_eq!(store.value("users").unwrap(), br#"["user_1","user_2"]"#);
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example()).unwrap();
    /// ```
    #[must_use]
    pub fn keys_only(mut self) -> Self {
        self.gathering.selection.read_keys_only();
        self
    }

    /// Passes over every entry for which `only` returns false. It sees the key with its metadata and expiration, and runs
    /// before anything is read, so that what it passes over costs nothing but the list. Such entries are counted nowhere.
    ///
    /// # Example
    /// ```
    /// use kv_migrations::{Fold, FoldOutput, Migration, Runner, kv::MemoryStore};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let drafts = Fold::new(
    ///     "post_",
    ///     || 0,
    ///     |words: &mut usize, post, _: &()| Ok(*words += post.text()?.split(' ').count()),
    ///     |words, _| Ok(vec![FoldOutput::new("words_in_drafts", words.to_string())]),
    /// )
    /// .only(|key| key.metadata.as_ref().is_some_and(|metadata| metadata.as_json() == r#""draft""#));
    ///
    /// let store = MemoryStore::new();
    /// store.insert("post_1", "published since long");
    /// let migration = Migration::fold("006_drafts", "Count the words in drafts", drafts);
    /// Runner::new(store.clone(), "my-service", vec![migration])?.run_pending(&()).await?;
    /// assert_eq!(store.value("words_in_drafts").unwrap(), b"0");
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example()).unwrap();
    /// ```
    #[must_use]
    pub fn only(mut self, only: impl Fn(&Key) -> bool + Send + Sync + 'static) -> Self {
        self.gathering.selection.scope.set_only(only);
        self
    }

    /// Gathers from another namespace than the service's own, to which it writes.
    ///
    /// The namespace is a [store](Store): in a Worker a `kv_migrations_routes::Namespace` by the name of its binding.
    ///
    /// Markers stay in the service's own namespace. In the other one only markers of this service are left out, whatever the
    /// prefix; data that begins so is counted in a warning. The budget and the six connections are for all namespaces
    /// together.
    ///
    /// # Example
    /// ```
    /// use kv_migrations::{Fold, FoldOutput, Migration, Runner, kv::MemoryStore};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let old = MemoryStore::new(); // in a Worker: `Namespace::from("OLD_KV")`
    /// old.insert("user_1", "Ada");
    /// let number = Fold::new(
    ///     "user_",
    ///     || 0,
    ///     |number: &mut u64, _, _: &()| Ok(*number += 1),
    ///     |number, _| Ok(vec![FoldOutput::new("old_users", number.to_string())]),
    /// )
    /// .in_namespace(old);
    ///
    /// let store = MemoryStore::new();
    /// let migration = Migration::fold("010_number", "Count the users of the old namespace", number);
    /// Runner::new(store.clone(), "my-service", vec![migration])?.run_pending(&()).await?;
    /// assert_eq!(store.value("old_users").unwrap(), b"1");
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example()).unwrap();
    /// ```
    #[must_use]
    pub fn in_namespace(mut self, store: impl Store + 'static) -> Self {
        self.gathering.selection.scope.set_store(store);
        self
    }
}
