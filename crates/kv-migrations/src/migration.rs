//! What a migration is: an id, a description, an `up` and perhaps a `down`.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backfill::Backfill;
use crate::change::{BoxChange, Change};
use crate::fold::Fold;
use crate::kv::Kv;
use crate::rekey::Rekey;
use crate::resumable::Long;

/// Any error that a migration fails with: `?` turns every [`std::error::Error`] into it, and so does
/// `.into()` for a `&str` or a `String`.
pub type BoxError = Box<dyn std::error::Error>;

/// What a migration's `up` and `down` return. [`Ok`] means done: an error that is logged and then swallowed makes
/// an unfinished migration count as applied.
pub type Result<T = (), E = BoxError> = std::result::Result<T, E>;

/// One change to the data of a service, known by its id for ever after.
///
/// `C` is the context that `up` and `down` get beside the [`Kv`]: a Worker's `Env`, a type of your own, or `()`.
///
/// An `up` can run more than once: after a failure, after a crash before it was recorded, and when two deploys run
/// it at the same moment. Write it so that the second time does no harm.
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
}

impl<C> Migration<C> {
    /// A migration that cannot be rolled back.
    ///
    /// `up` is `async |kv, context| { …; Ok(()) }`, or `async move |…|` where it captures something, which must be
    /// `Send` and `Sync`, as routers want.
    ///
    /// The order of migrations is that of their registration, not that of their ids; numbers at the front
    /// (`001_…`) keep the two alike. Whether the id can be one is checked by [`Runner::new`](crate::Runner::new),
    /// or while compiling by [`migrations!`](crate::migrations!). An empty description is left out of reports.
    pub fn new(
        id: impl Into<Cow<'static, str>>,
        description: impl Into<Cow<'static, str>>,
        up: impl AsyncFn(&Kv, &C) -> Result + Send + Sync + 'static,
    ) -> Self {
        Self { id: id.into(), description: description.into(), up: Box::new(up), down: None }
    }

    /// A migration that changes every entry of a prefix, over as many requests as it takes: see [`Backfill`].
    pub fn backfill(
        id: impl Into<Cow<'static, str>>,
        description: impl Into<Cow<'static, str>>,
        up: Backfill<C>,
    ) -> Self
    where
        C: 'static,
    {
        Self { id: id.into(), description: description.into(), up: Box::new(Long(up)), down: None }
    }

    /// A migration that gathers something from every entry of a prefix, and writes it: see [`Fold`].
    pub fn fold<S: Serialize + DeserializeOwned + 'static>(
        id: impl Into<Cow<'static, str>>,
        description: impl Into<Cow<'static, str>>,
        up: Fold<C, S>,
    ) -> Self
    where
        C: 'static,
    {
        Self { id: id.into(), description: description.into(), up: Box::new(Long(up)), down: None }
    }

    /// A migration that moves entries to new keys: see [`Rekey`]. It can be rolled back if the re-key has an inverse.
    pub fn rekey(
        id: impl Into<Cow<'static, str>>,
        description: impl Into<Cow<'static, str>>,
        up: Rekey,
    ) -> Self {
        let (up, down) = up.into_changes();
        Self { id: id.into(), description: description.into(), up, down }
    }

    /// The same, with a `down` that undoes it entry by entry, over as many requests as it takes.
    ///
    /// While it is under way the migration counts as not applied. Applying it then begins its `up` anew.
    #[must_use]
    pub fn with_down_backfill(mut self, down: Backfill<C>) -> Self
    where
        C: 'static,
    {
        self.down = Some(Box::new(Long(down)));
        self
    }

    /// The same, with the `down` that undoes what `up` did. Its marker is deleted only after `down` succeeded.
    #[must_use]
    pub fn with_down(mut self, down: impl AsyncFn(&Kv, &C) -> Result + Send + Sync + 'static) -> Self {
        self.down = Some(Box::new(down));
        self
    }

    /// The id, as it stands in the key of its marker.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it does, for people.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Whether it has a `down`.
    pub fn is_reversible(&self) -> bool {
        self.down.is_some()
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
