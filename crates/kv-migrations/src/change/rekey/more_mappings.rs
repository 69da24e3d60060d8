//! Re-keys whose mapping sees more than a key.

use std::sync::Arc;

use super::Rekey;
use super::by_value::ByValue;
use super::direction::Direction;
use super::mapping::MapFn;
use crate::change::prefixes::Prefixes;
use crate::change::record::Record;
use crate::error::Result;
use crate::kv::{Key, Kv};

impl Rekey {
    /// Moves every entry whose key begins with one of `prefixes` to the key that `mapping` returns, which sees the entry with its value.
    /// An entry stays where it is if `mapping` returns `None` or the same key. An error fails the migration: the survey finds it
    /// before anything is written.
    ///
    /// A value may change while the migration is under way, and its new key with it. The entry then ends at its last one. Its
    /// copy under the earlier one is deleted, unless somebody has changed it since, or the entry is nowhere else: then it is left
    /// and reported. Each entry is
    /// mapped again from the bytes that are copied, and once more before it is deleted, so that `mapping` must be quick and
    /// return the same for the same entry. It gets the value without a byte order mark, and must not write through the record.
    ///
    /// An [inverse](Self::with_inverse) sees the key alone. The survey, the plan of each batch, and the check read every value, 100 in an
    /// operation. With [`deleting`](Self::deleting) each entry is read once more by itself.
    ///
    /// # Example
    /// ```
    /// use kv_migrations::{Migration, Rekey, Runner, kv::MemoryStore};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct User {
    ///     tenant: String,
    /// }
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let users = Rekey::by_value("user_", |user| {
    ///     let User { tenant } = user.json()?;
    ///     Ok(Some(format!("user:{tenant}:{}", user.name().trim_start_matches("user_"))))
    /// });
    /// let migration = Migration::rekey("005_users", "user_… to user:{tenant}:…", users);
    ///
    /// let store = MemoryStore::new();
    /// store.insert("user_1", r#"{"tenant":"acme","name":"Ada"}"#);
    /// let runner = Runner::new(store.clone(), "my-service", vec![migration])?;
    /// runner.run_pending(&()).await?; // and again, after the wait that it asks for
    ///
    /// assert_eq!(store.value("user:acme:1").unwrap(), br#"{"tenant":"acme","name":"Ada"}"#);
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example()).unwrap();
    /// ```
    pub fn by_value(
        prefixes: impl Into<Prefixes>,
        mapping: impl Fn(&Record) -> Result<Option<String>> + Send + Sync + 'static,
    ) -> Self {
        let mapping =
            MapFn::new(prefixes.into(), move |_, record, _: &_, (): &_| record.map_or(Ok(None), &mapping));
        Self::plain(Direction { by_value: Some(&ByValue), ..Self::direction(mapping) })
    }
}

impl<C, T> Rekey<C, T> {
    /// Moves every entry whose key begins with one of `prefixes` to the key that `mapping` returns, which also knows a table and the
    /// context. `load` loads the table beforehand, through `kv`, also from another namespace
    /// ([`Kv::with_store`](crate::kv::Kv::with_store)).
    ///
    /// The table is loaded once, and kept in the checkpoint as JSON, at most 4 MiB: all requests map by the same one. It has to
    /// be loaded in one request. A rollback loads it again. An entry for which `mapping` returns an error fails the migration,
    /// by the survey before anything is written; one for which it returns `None` stays where it is.
    ///
    /// # Example
    /// ```
    /// use std::collections::BTreeMap;
    ///
    /// use kv_migrations::{Migration, Rekey, Runner, kv::MemoryStore};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// struct Env {
    ///     users: MemoryStore, // another namespace: the id of each name
    /// }
    ///
    /// let trips = Rekey::by_table(
    ///     "trip:",
    ///     async |kv, env: &Env| {
    ///         let (users, mut ids) = (kv.with_store(env.users.clone()), BTreeMap::new());
    ///         let mut names = users.list("");
    ///         while let Some(name) = names.next().await? {
    ///             ids.insert(name.name.clone(), users.text(&name.name).await?.unwrap_or_default());
    ///         }
    ///         Ok(ids)
    ///     },
    ///     |trip, ids, _| {
    ///         let parts = trip.name.strip_prefix("trip:").and_then(|rest| rest.split_once(':'));
    ///         let Some((name, rest)) = parts else { return Ok(None) };
    ///         Ok(ids.get(name).map(|id| format!("trips/{id}/{rest}")))
    ///     },
    /// );
    /// let migration = Migration::rekey("004_trips", "trip:{name}:… to trips/{id}/…", trips);
    ///
    /// let (store, users) = (MemoryStore::new(), MemoryStore::new());
    /// users.insert("ada", "17");
    /// store.insert("trip:ada:rome", "1953");
    /// store.insert("trip:bob:rome", "nobody knows bob");
    /// let runner = Runner::new(store.clone(), "my-service", vec![migration])?;
    /// runner.run_pending(&Env { users }).await?; // and again, after the wait that it asks for
    ///
    /// assert_eq!(store.value("trips/17/rome").unwrap(), b"1953");
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example()).unwrap();
    /// ```
    pub fn by_table(
        prefixes: impl Into<Prefixes>,
        load: impl AsyncFn(&Kv, &C) -> Result<T> + Send + Sync + 'static,
        mapping: impl Fn(&Key, &T, &C) -> Result<Option<String>> + Send + Sync + 'static,
    ) -> Self {
        let mapping =
            MapFn::new(prefixes.into(), move |key, _, context: &_, table: &_| mapping(key, table, context));
        Self { direction: Self::direction(mapping), load: Arc::new(load) }
    }

    /// Moves every entry whose key begins with one of `prefixes` to the key that `mapping` returns, which sees the value too, and knows
    /// what [`by_table`](Self::by_table) knows. For the rest it is like [`Rekey::by_value`].
    pub fn by_value_and_table(
        prefixes: impl Into<Prefixes>,
        load: impl AsyncFn(&Kv, &C) -> Result<T> + Send + Sync + 'static,
        mapping: impl Fn(&Record, &T, &C) -> Result<Option<String>> + Send + Sync + 'static,
    ) -> Self {
        let mapping = MapFn::new(prefixes.into(), move |_, record, context: &_, table: &_| {
            record.map_or(Ok(None), |record| mapping(record, table, context))
        });
        Self {
            direction: Direction { by_value: Some(&ByValue), ..Self::direction(mapping) },
            load: Arc::new(load),
        }
    }

    /// Sets the inverse, as of [`Rekey::with_inverse`], which also knows the table and the context.
    #[must_use]
    pub fn with_inverse(
        mut self,
        prefixes: impl Into<Prefixes>,
        mapping: impl Fn(&Key, &T, &C) -> Result<Option<String>> + Send + Sync + 'static,
    ) -> Self {
        let mapping =
            MapFn::new(prefixes.into(), move |key, _, context: &_, table: &_| mapping(key, table, context));
        self.direction.inverse = Some(mapping);
        self
    }
}
