//! Moves entries to new keys without losing any.
//!
//! Survey, copy, wait, verify, sweep, wait, check: each phase has a file in this folder, and `phases` drives them. `pass` is
//! what those share that read entries, and `verdict` decides what is deleted. Nothing is deleted before its copy was read
//! back, later than KV's delay, and found to be the same.

mod attempts;
mod by_value;
mod changes;
mod changing;
mod check;
mod choice;
mod collision;
mod contests;
mod copies;
mod copy;
mod delete;
mod direction;
mod entry;
mod found;
mod mapping;
mod more_mappings;
mod namespaces;
mod owners;
mod pass;
mod phases;
mod plan;
mod relocation;
mod retarget;
mod state;
mod survey;
mod sweep;
mod table;
mod targets;
mod two_namespaces;
mod verdict;
mod verify;
mod with_change;
mod withdraw;
mod writer;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::prefixes::Prefixes;
use crate::kv::{Key, Kv};
pub(crate) use changes::Changes;
use changes::IntoChanges;
pub use changes::RekeyFor;
pub use collision::Collisions;
pub use direction::AnyContext;
use direction::Direction;
pub use entry::MovingEntry;
use mapping::MapFn;
use relocation::{Missing, Part, Settings};
use table::{Load, WithTable};

/// How long KV takes until a write is visible everywhere, and until a cached miss is forgotten: 60 seconds or more.
///
/// Source: <https://developers.cloudflare.com/kv/concepts/how-kv-works/>.
const VISIBILITY_DELAY: Duration = Duration::from_secs(90);

/// Moves entries to new keys.
///
/// An entry keeps its value, byte for byte, its metadata, and its expiration. The move has these phases:
///
/// 1. **survey**: looks for collisions among all keys. If something else is at a new key, it looks once more after a
///    **wait** (**confirm**). Nothing is written before the survey is complete.
/// 2. **copy**: writes up to 50,000 entries, or 1 MiB of keys, to their new keys.
/// 3. **wait**: until the copies are visible everywhere.
/// 4. **sweep**: reads each entry under both keys. If the copy is there and the entry has not changed since, the old key is
///    deleted. If the entry has changed, it is copied again and swept after another wait. Then the next entries follow.
/// 5. **wait** and **check**: looks for entries that were written under old keys in the meantime, and moves them too. The
///    check also runs when the survey found nothing: what was written a moment ago, perhaps by the previous migration, may
///    not have been listed yet.
///
/// # While the service writes
///
/// Until the migration is applied, let the service read the new key first and then the old one, and **write both**.
///
/// | the service writes | what can be lost |
/// | --- | --- |
/// | both keys | nothing |
/// | only the new key | what it writes elsewhere in the minute before the entry is copied |
/// | only the old key | what it writes elsewhere in the minute before the old key is deleted |
///
/// A service that writes old keys all the time needs two migrations, in two releases: [`copying`](Self::copying) and
/// [`deleting`](Self::deleting).
///
/// # Entries that do not move
///
/// An entry that expires within 90 seconds is left to expire. An entry that cannot have its new key fails the migration
/// before anything is written, or stays: see [`Collisions`].
///
/// # Example
/// ```
/// use kv_migrations::{Migration, Rekey};
///
/// let users = Migration::<()>::rekey("005_users", "user_… to user:…", Rekey::prefix("user_", "user:"));
/// assert!(users.is_reversible());
/// ```
///
/// `C` and `T` are the context and the table of [`by_table`](Self::by_table). A `Rekey` without them fits migrations with any
/// context.
pub struct Rekey<C: ?Sized = dyn AnyContext, T = ()> {
    direction: Direction<C, T>,
    load: Arc<dyn Load<C, T>>,
}

impl Rekey {
    /// Moves every entry whose key begins with one of `prefixes` to the key that `mapping` returns. An entry stays where it is if
    /// `mapping` returns `None` or the same key: in [another namespace](Self::in_namespace) that is a move.
    ///
    /// The mapping sees the key with its metadata and expiration. [`by_value`](Self::by_value) also sees the value, and
    /// [`by_table`](Self::by_table) what was loaded beforehand. The mapping must always return the same for the same
    /// key: if it reads metadata, that must not change until the migration is applied. A mapping that has changed for an entry
    /// that is copied is an error, before anything is deleted.
    ///
    /// To prove that no two entries get the same key, the re-key remembers all new keys: 250,000 at most. With an
    /// [inverse](Self::with_inverse) there is no such limit.
    pub fn new(
        prefixes: impl Into<Prefixes>,
        mapping: impl Fn(&Key) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let mapping = MapFn::new(prefixes.into(), move |key, _, _: &_, (): &_| Ok(mapping(key)));
        Self::plain(Self::direction(mapping))
    }

    fn plain(direction: Direction<dyn AnyContext, ()>) -> Self {
        Self { direction, load: Arc::new(async |_: &Kv, _: &_| Ok(())) }
    }

    /// Moves every entry whose key begins with `from` to the key that begins with `to` instead. A rollback moves every entry
    /// whose key begins with `to` back. If one prefix begins with the other (`user_` and `user_v2_`), a key with the longer
    /// one never counts as a key with the shorter one.
    pub fn prefix(from: impl Into<Cow<'static, str>>, to: impl Into<Cow<'static, str>>) -> Self {
        Self::prefixes([(from, to)])
    }

    /// Moves entries of several prefixes in one migration: each pair has an old prefix and its new one.
    ///
    /// No old prefix may begin with another old one, and no new one with another new one:
    /// [`Runner::new`](crate::Runner::new) refuses that.
    ///
    /// # Example
    /// ```
    /// use kv_migrations::{Migration, Rekey, Runner, kv::MemoryStore};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let colons = Rekey::prefixes([("user_", "user:"), ("group_", "group:"), ("trip_", "trip:")]);
    /// let migration = Migration::rekey("005_colons", "…_… to …:…", colons);
    ///
    /// let store = MemoryStore::new();
    /// store.insert("group_1", "Authors");
    /// store.insert("user_1", "Ada");
    /// let runner = Runner::new(store.clone(), "my-service", vec![migration])?;
    /// runner.run_pending(&()).await?; // and again, after the wait that it asks for
    /// assert_eq!(store.value("user:1").unwrap(), b"Ada");
    /// assert_eq!(store.value("group:1").unwrap(), b"Authors");
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example()).unwrap();
    /// ```
    pub fn prefixes<F, T>(pairs: impl IntoIterator<Item = (F, T)>) -> Self
    where
        F: Into<Cow<'static, str>>,
        T: Into<Cow<'static, str>>,
    {
        let pairs: Pairs = pairs.into_iter().map(|(from, to)| (from.into(), to.into())).collect();
        let back: Pairs = pairs.iter().cloned().map(|(from, to)| (to, from)).collect();
        let old = |pairs: &Pairs| pairs.iter().map(|(old, _)| old.clone()).collect::<Vec<_>>();
        let (from, to) = (old(&pairs), old(&back));
        Self::new(from, replace(pairs)).with_inverse(to, replace(back))
    }

    /// Sets the inverse: `mapping` returns the old key for a new one, and all new keys begin with one of `prefixes`.
    ///
    /// The inverse makes the migration reversible, and proves that no two entries get the same key: a key that it does not
    /// return counts as a collision.
    ///
    /// # Example
    /// ```
    /// use kv_migrations::Rekey;
    ///
    /// let cities = Rekey::new("city_", |key| {
    ///     let country: String = key.metadata.as_ref()?.parse().ok()?;
    ///     Some(format!("city:{country}:{}", key.name.strip_prefix("city_")?))
    /// })
    /// .with_inverse("city:", |key| Some(format!("city_{}", key.name.rsplit(':').next()?)));
    /// # let _ = cities;
    /// ```
    #[must_use]
    pub fn with_inverse(
        mut self,
        prefixes: impl Into<Prefixes>,
        mapping: impl Fn(&Key) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.direction.inverse =
            Some(MapFn::new(prefixes.into(), move |key, _, _: &_, (): &_| Ok(mapping(key))));
        self
    }
}

impl<C: ?Sized, T> Rekey<C, T> {
    fn direction(mapping: MapFn<C, T>) -> Direction<C, T> {
        let settings =
            Settings { part: Part::Whole, collisions: Collisions::default(), delay: VISIBILITY_DELAY };
        let (into, distinct, inverse, by_value, choice) = (None, None, None, None, None);
        let (change, change_back) = (None, None);
        Direction { settings, mapping, into, distinct, inverse, by_value, choice, change, change_back }
    }

    /// Sets what happens to entries whose new keys are not free (default [`Collisions::Fail`]).
    #[must_use]
    pub fn with_collisions(mut self, collisions: Collisions) -> Self {
        self.direction.settings.collisions = collisions;
        self
    }

    /// Only copies entries to their new keys, and deletes nothing: the first of two migrations for a service that writes all
    /// the time. Register it in the release that reads the new key first and then the old one, and writes both.
    ///
    /// It is applied once each entry has its copy, verified later than KV's delay. What the service has written to a new key
    /// stays. An entry that the service wrote under its old key alone is copied again.
    ///
    /// A rollback deletes the new keys again, in the way of [`deleting`](Self::deleting): an entry that has only its new key
    /// is left, and reported. Deploy the release that knows only the old keys first.
    ///
    /// # Example
    /// ```
    /// use kv_migrations::{Migration, Rekey};
    ///
    /// fn users() -> Rekey {
    ///     Rekey::prefix("user_", "user:")
    /// }
    ///
    /// // The release that writes both keys:
    /// let copy = Migration::<()>::rekey("005_copy_users", "user_… also at user:…", users().copying());
    /// // The release after it, which knows only the new keys:
    /// let delete = Migration::<()>::rekey("006_delete_users", "No more user_…", users().deleting());
    /// # let _ = (copy, delete);
    /// ```
    #[must_use]
    pub fn copying(mut self) -> Self {
        self.direction.settings.part = Part::Copying;
        self
    }

    /// Only deletes the old keys of entries that have new ones: the second of two migrations. Register it, under an id of its
    /// own, in a later release, which writes only the new keys. [`copying`](Self::copying) must be applied.
    ///
    /// It looks at each entry twice, KV's delay apart. If there is something at the new key, the old key is deleted,
    /// whatever it holds: the new one wins. With [`Collisions::Skip`] it is deleted only if both hold the same. If there is
    /// nothing at the new key, the old one is left and reported, since the service may have deleted the entry: at most 1,000.
    ///
    /// A rollback copies the entries back to their old keys, in the way of [`copying`](Self::copying). Deploy the release
    /// that writes both keys first.
    #[must_use]
    pub fn deleting(mut self) -> Self {
        self.direction.settings.part = Part::Deleting(Missing::Left);
        self
    }

    /// Deletes old keys as [`deleting`](Self::deleting) does, and copies an entry that has nothing at its new key,
    /// at most 1,000, before it deletes the old one. For a service that deletes nothing: an entry that it deleted
    /// comes back.
    #[must_use]
    pub fn copying_missing(mut self) -> Self {
        self.direction.settings.part = Part::Deleting(Missing::Copied);
        self
    }

    /// Sets how long to wait until what was written is visible everywhere (default 90 seconds). For tests and for stores
    /// without KV's delay: on Cloudflare, a shorter time can lose what a stale read does not show.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn with_visibility_delay(mut self, delay: Duration) -> Self {
        self.direction.settings.delay = delay;
        self
    }
}

impl<C> RekeyFor<C> for Rekey {}

impl<C> IntoChanges<C> for Rekey {
    fn into_changes(self) -> Changes<C> {
        Changes::new(self.direction, |direction| direction)
    }
}

impl<C: 'static, T: Serialize + DeserializeOwned + 'static> RekeyFor<C> for Rekey<C, T> {}

impl<C: 'static, T: Serialize + DeserializeOwned + 'static> IntoChanges<C> for Rekey<C, T> {
    fn into_changes(self) -> Changes<C> {
        let Self { direction, load } = self;
        Changes::new(direction, |direction| WithTable { direction, load: load.clone() })
    }
}

/// Old prefixes, each with its new one.
type Pairs = Vec<(Cow<'static, str>, Cow<'static, str>)>;

/// Replaces a prefix by its new one. A key with the longer of the two is no key with the shorter one.
fn replace(pairs: Pairs) -> impl Fn(&Key) -> Option<String> {
    move |key| {
        let (from, to) = pairs.iter().find(|(from, _)| key.name.starts_with(&**from))?;
        let is_moved = to != from && to.starts_with(&**from) && key.name.starts_with(&**to);
        let rest = key.name.strip_prefix(&**from).filter(|_| !is_moved)?;
        Some(format!("{to}{rest}"))
    }
}

impl<C: ?Sized, T> fmt::Debug for Rekey<C, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Direction { settings, mapping, inverse, .. } = &self.direction;
        f.debug_struct("Rekey")
            .field("prefixes", mapping.scope().prefixes())
            .field("collisions", &settings.collisions)
            .field("part", &settings.part)
            .field("reversible", &inverse.is_some())
            .finish_non_exhaustive()
    }
}
