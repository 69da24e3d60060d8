//! How a re-key is told to change entries on their way.

use std::sync::Arc;

use super::Rekey;
use super::direction::{AnyContext, Direction};
use super::entry::MovingEntry;
use crate::error::Result;
use crate::kv::Kv;

impl Rekey {
    /// Changes entries on their way: gives the copy another value, other metadata or another expiration.
    ///
    /// `change` gets the entry, its new key and the context, and returns the entry as it is to be there. There is no time with
    /// new keys and old values. It may return something else each time, such as a value that is encrypted with a random
    /// nonce: what is about to be written is recorded in the checkpoint first, and copies are recognized by that record. An
    /// entry that has changed since it was copied is changed and copied again. A service that writes both keys meanwhile writes
    /// at the new key what `change` returns; if that is never the same twice, move the entries by [`copying`](Self::copying)
    /// and [`deleting`](Self::deleting) instead, or it is a collision.
    ///
    /// An error of `change` fails the migration at that entry: what is moved stays moved. A copy that would expire within 90
    /// seconds is not written: the entry stays at its old key and is reported. What is at a new key already is no collision if
    /// it has the value and metadata that `change` returns.
    ///
    /// The migration is reversible only with [`changing_back`](Self::changing_back). With [`copying`](Self::copying) what is
    /// at a new key, and the re-key has not written, is left as the service's own. [`deleting`](Self::deleting) compares
    /// nothing but with [`Collisions::Skip`](crate::Collisions::Skip).
    ///
    /// # Example
    /// ```
    /// use kv_migrations::{Migration, Rekey, Runner, kv::MemoryStore};
    /// use serde_json::{Map, Value};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let users = Rekey::prefix("user_", "user:").changing(async |user, new_key, _: &()| {
    ///     let mut fields: Map<String, Value> = user.json()?;
    ///     fields.insert("id".to_owned(), new_key.into());
    ///     user.with_json(&fields) // metadata and expiration stay
    /// });
    /// let migration = Migration::rekey("005_users", "user_… to user:…, with its id", users);
    ///
    /// let store = MemoryStore::new();
    /// store.insert("user_1", r#"{"name":"Ada","id":"user_1"}"#);
    /// let runner = Runner::new(store.clone(), "my-service", vec![migration])?;
    /// runner.run_pending(&()).await?; // and again, after the wait that it asks for
    ///
    /// assert_eq!(store.value("user:1").unwrap(), br#"{"id":"user:1","name":"Ada"}"#);
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example()).unwrap();
    /// ```
    pub fn changing<C: 'static>(
        self,
        change: impl AsyncFn(MovingEntry, &str, &C) -> Result<MovingEntry> + Send + Sync + 'static,
    ) -> Rekey<C> {
        let Direction { settings, mapping, into, distinct, inverse, by_value, choice, .. } = self.direction;
        let direction = Direction {
            settings,
            mapping: mapping.for_context(no_context),
            into,
            distinct,
            inverse: inverse.map(|inverse| inverse.for_context(no_context)),
            by_value,
            choice,
            change: Some(Arc::new(change)),
            change_back: None,
        };
        Rekey { direction, load: Arc::new(async |_: &Kv, _: &C| Ok(())) }
    }
}

impl<C, T> Rekey<C, T> {
    /// Changes entries on their way, as of [`Rekey::changing`].
    #[must_use]
    pub fn changing(
        mut self,
        change: impl AsyncFn(MovingEntry, &str, &C) -> Result<MovingEntry> + Send + Sync + 'static,
    ) -> Self {
        self.direction.change = Some(Arc::new(change));
        self
    }

    /// Sets how a rollback changes entries on their way back, where [`changing`](Self::changing) has changed them: `change`
    /// gets the entry, its old key and the context. The migration also needs an inverse of its mapping.
    ///
    /// # Example
    /// ```
    /// use kv_migrations::{Migration, Rekey};
    ///
    /// let notes = Rekey::prefix("note_", "note:")
    ///     .changing(async |note, _, _: &()| {
    ///         let text = note.text()?.to_uppercase();
    ///         Ok(note.with_value(text))
    ///     })
    ///     .changing_back(async |note, _, _| {
    ///         let text = note.text()?.to_lowercase();
    ///         Ok(note.with_value(text))
    ///     });
    /// assert!(Migration::rekey("006_notes", "note_… to NOTE", notes).is_reversible());
    /// ```
    #[must_use]
    pub fn changing_back(
        mut self,
        change: impl AsyncFn(MovingEntry, &str, &C) -> Result<MovingEntry> + Send + Sync + 'static,
    ) -> Self {
        self.direction.change_back = Some(Arc::new(change));
        self
    }
}

/// The context of a mapping that sees none.
fn no_context<C>(_: &C) -> &(dyn AnyContext + 'static) {
    &()
}
