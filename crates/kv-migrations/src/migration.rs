//! A migration: an id, a description, an `up`, and perhaps a `down`.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::change::{Backfill, BoxChange, Change, Changes, Fold, RekeyFor, ResumableChange};
use crate::error::Result;
use crate::kv::Kv;
use crate::report::MigrationKind;

/// One change to the data of a service, identified by its id.
///
/// `C` is the context that `up` and `down` get besides the [`Kv`]: a Worker's `Env`, a type of your own, or `()`.
///
/// An `up` can run more than once: after a failure, after a crash before it was recorded, and when two deploys run it at the
/// same moment. Write it so that the second time does no harm.
///
/// # Example
/// ```
/// use kv_migrations::Migration;
///
/// let migration = Migration::new(
///     "001_add_feature",
///     "Add new feature to system",
///     async |kv, _: &()| {
///         kv.put("feature_enabled", "true").await?;
///         Ok(())
///     },
/// )
/// .with_down(async |kv, _| {
///     kv.delete("feature_enabled").await?;
///     Ok(())
/// });
///
/// assert!(migration.is_reversible());
/// ```
pub struct Migration<C = ()> {
    id: Cow<'static, str>,
    description: Cow<'static, str>,
    up: BoxChange<C>,
    down: Option<BoxChange<C>>,
    revision: Option<Cow<'static, str>>,
}

impl<C> Migration<C> {
    /// Creates a migration without a `down`.
    ///
    /// `up` is `async |kv, context| { …; Ok(()) }`, or `async move |…|` if it captures something, which must be `Send` and
    /// `Sync`, as routers require.
    ///
    /// Migrations run in the order of their registration, not of their ids; numbers at the start (`001_…`) keep both the
    /// same. [`Runner::new`](crate::Runner::new) checks the id. [`migrations!`](crate::migrations!) takes it from the module's
    /// `ID` instead, and checks it while compiling. An empty description is left out of reports.
    pub fn new(
        id: impl Into<Cow<'static, str>>,
        description: impl Into<Cow<'static, str>>,
        up: impl AsyncFn(&Kv, &C) -> Result + Send + Sync + 'static,
    ) -> Self {
        Self { id: id.into(), description: description.into(), up: Box::new(up), down: None, revision: None }
    }

    /// Returns a migration that changes every entry of a prefix, over as many requests as it takes: see
    /// [`Backfill`].
    pub fn backfill(
        id: impl Into<Cow<'static, str>>,
        description: impl Into<Cow<'static, str>>,
        up: Backfill<C>,
    ) -> Self
    where
        C: 'static,
    {
        Self {
            id: id.into(),
            description: description.into(),
            up: Box::new(ResumableChange(up)),
            down: None,
            revision: None,
        }
    }

    /// Returns a migration that gathers a state from every entry of a prefix and writes what follows from it: see
    /// [`Fold`].
    pub fn fold<S: Serialize + DeserializeOwned + 'static>(
        id: impl Into<Cow<'static, str>>,
        description: impl Into<Cow<'static, str>>,
        up: Fold<C, S>,
    ) -> Self
    where
        C: 'static,
    {
        Self {
            id: id.into(),
            description: description.into(),
            up: up.into_change(),
            down: None,
            revision: None,
        }
    }

    /// Returns a migration that moves entries to new keys: see [`Rekey`](crate::Rekey). It is reversible if the
    /// re-key has an inverse.
    pub fn rekey(
        id: impl Into<Cow<'static, str>>,
        description: impl Into<Cow<'static, str>>,
        up: impl RekeyFor<C>,
    ) -> Self {
        let Changes { up, down } = up.into_changes();
        Self { id: id.into(), description: description.into(), up, down, revision: None }
    }

    /// Sets a `down` that undoes it entry by entry, over as many requests as it takes.
    ///
    /// While the rollback is unfinished, the migration counts as not applied. Applying it then starts its `up` over.
    #[must_use]
    pub fn with_down_backfill(mut self, down: Backfill<C>) -> Self
    where
        C: 'static,
    {
        self.down = Some(Box::new(ResumableChange(down)));
        self
    }

    /// Sets the `down`, which undoes what `up` did. The marker is deleted only after `down` succeeded.
    #[must_use]
    pub fn with_down(mut self, down: impl AsyncFn(&Kv, &C) -> Result + Send + Sync + 'static) -> Self {
        self.down = Some(Box::new(down));
        self
    }

    /// Sets the revision of what it does: 1 to 64 bytes without control characters. Change it when you change the `up`.
    ///
    /// The marker keeps the revision that was applied. If the registered revision differs, plans and runs say so; having
    /// none counts as a revision too. The migration stays applied. [`Runner::refusing`](crate::Runner::refusing) makes the
    /// runner refuse such runs.
    ///
    /// # Example
    /// ```
    /// use kv_migrations::{FindingKind, Migration, Runner, Until, kv::MemoryStore};
    ///
    /// # async fn example() -> Result<(), kv_migrations::Error> {
    /// let store = MemoryStore::new();
    /// let migration = || Migration::new("001", "", async |_, _: &()| Ok(()));
    /// Runner::new(store.clone(), "my-service", vec![migration()])?.run_pending(&()).await?;
    ///
    /// let mended = Runner::new(store, "my-service", vec![migration().revision("2")])?;
    /// assert_eq!(mended.plan(&Until::End).await?.findings[0].kind, FindingKind::Revised);
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example()).unwrap();
    /// ```
    #[must_use]
    pub fn revision(mut self, revision: impl Into<Cow<'static, str>>) -> Self {
        self.revision = Some(revision.into());
        self
    }

    /// Sets the id. Called by [`migrations!`](crate::migrations!), so that the `ID` of a module is the only source.
    #[doc(hidden)]
    #[must_use]
    pub fn with_id(mut self, id: &'static str) -> Self {
        self.id = Cow::Borrowed(id);
        self
    }

    /// Returns the id, as it is in the key of its marker.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns what it does, for people; may be empty.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Returns whether it has a `down`.
    pub fn is_reversible(&self) -> bool {
        self.down.is_some()
    }

    /// Returns what kind of change its `up` makes.
    pub fn kind(&self) -> MigrationKind {
        self.up.kind()
    }

    pub(crate) fn named_revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    pub(crate) fn up(&self) -> &dyn Change<C> {
        &*self.up
    }

    pub(crate) fn down(&self) -> Option<&dyn Change<C>> {
        self.down.as_deref()
    }
}

impl<C> fmt::Debug for Migration<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Migration")
            .field("id", &self.id)
            .field("description", &self.description)
            .field("reversible", &self.is_reversible())
            .finish_non_exhaustive()
    }
}
