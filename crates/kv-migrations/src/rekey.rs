//! Moves entries to new keys without losing any.
//!
//! Survey, copy, wait, sweep, wait, check: each file below is one of these phases. Nothing is deleted before its copy
//! was read back, later than KV's delay, and found to be the same.

mod check;
mod collision;
mod copy;
mod fingerprint;
mod mapping;
mod moving;
mod state;
mod survey;
mod sweep;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::change::BoxChange;
use crate::kv::Key;
use mapping::Mapping;
use moving::Moving;

/// How long it takes until a write is seen everywhere, and a miss that was cached is forgotten: 60 seconds or more.
///
/// Source: <https://developers.cloudflare.com/kv/concepts/how-kv-works/>.
const VISIBILITY_DELAY: Duration = Duration::from_secs(90);

/// A move of entries to new keys.
///
/// An entry keeps its value, byte for byte, its metadata, and the time at which it expires. It is moved in phases:
///
/// 1. **survey**: all keys are gone through, and collisions looked for. Where there is something else at a new key, it
///    is looked at once more after a **wait** (**confirm**). Nothing is written before that is done.
/// 2. **copy**: up to 50,000 entries are written to their new keys.
/// 3. **wait**: until what was written is seen everywhere.
/// 4. **sweep**: each entry is read under both keys. Where the copy is there, and the entry did not change since, the
///    old key is deleted; where it changed, it is copied again, and swept after another wait. Then the next 50,000.
/// 5. **wait**, and **check**: whether there are entries under old keys that were written meanwhile; those are moved
///    likewise. That is done also when the survey found nothing: what was written a moment ago, by the migration
///    before perhaps, may not have been listed yet.
///
/// Until the migration is applied, let the service read the new key first and then the old one, and **write both**:
/// then nothing that it writes is lost. If it writes only one of them, a write that is made elsewhere within KV's delay
/// of the copying (only the new one) or of the deleting (only the old one) can be.
///
/// An entry that expires within 90 seconds is not moved: it is left to expire. One that expires after January 2038,
/// which the Workers runtime cannot write, is an error before anything is written.
///
/// # Example
/// ```
/// use kv_migrations::{Migration, Rekey};
///
/// let users = Migration::<()>::rekey("005_users", "user_… to user:…", Rekey::prefix("user_", "user:"));
/// assert!(users.is_reversible());
/// ```
pub struct Rekey {
    mapping: Mapping,
    inverse: Option<Mapping>,
    collisions: Collisions,
    delay: Duration,
}

/// What becomes of entries whose new key is another's too: two old keys that get the same, or one that gets a key at
/// which there is something else already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Collisions {
    /// The migration fails, and lists them. Nothing is written or deleted by it.
    #[default]
    Fail,
    /// The one that has its new key, or comes first, has it; the others, 1,000 at most, stay where they are, and are
    /// reported.
    Leave,
}

impl Rekey {
    /// Moves every entry whose key begins with `prefix` to the key that `mapping` gives it; one for which it gives
    /// none, or the same key, stays where it is.
    ///
    /// The mapping gets the key with its metadata and its expiration, but not its value: to make a value's field a
    /// part of the key, put it into the metadata first, with a [`Backfill`](crate::Backfill). It must always give the
    /// same for the same key; so what it reads of the metadata must not change until the migration is applied, or a
    /// copy stays behind under the key that it gave before. To see that no two keys get the same one, it remembers them all: 250,000 at most. With
    /// [`with_inverse`](Self::with_inverse) there is no such limit.
    pub fn new(
        prefix: impl Into<Cow<'static, str>>,
        mapping: impl Fn(&Key) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            mapping: Mapping::new(prefix.into(), mapping),
            inverse: None,
            collisions: Collisions::default(),
            delay: VISIBILITY_DELAY,
        }
    }

    /// Moves every entry whose key begins with `from` to the key that begins with `to` in its place, and back when it
    /// is rolled back: then every entry whose key begins with `to`. If one begins like the other (`user_` and `user_v2_`),
    /// a key that begins with the longer one is never taken for one of the shorter.
    pub fn prefix(from: impl Into<Cow<'static, str>>, to: impl Into<Cow<'static, str>>) -> Self {
        let (from, to) = (from.into(), to.into());
        let (there, back) = (replace(from.clone(), to.clone()), replace(to.clone(), from.clone()));
        Self::new(from, there).with_inverse(to, back)
    }

    /// The same, with its way back: `mapping` gives the old key for a new one, and all new keys begin with `prefix`.
    ///
    /// It is what makes the migration reversible, and the proof that no two keys get the same one: a key that it does
    /// not give back is taken for a collision.
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
        prefix: impl Into<Cow<'static, str>>,
        mapping: impl Fn(&Key) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.inverse = Some(Mapping::new(prefix.into(), mapping));
        self
    }

    /// The same, with another answer to collisions than to fail.
    #[must_use]
    pub fn on_collisions(mut self, collisions: Collisions) -> Self {
        self.collisions = collisions;
        self
    }

    /// The same, with another time than 90 seconds to wait until what was written is seen everywhere. For tests, and
    /// for stores without KV's delay: on Cloudflare less can lose what a stale read does not show.
    #[must_use]
    pub fn with_visibility_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// There, and back if there is a way.
    pub(crate) fn into_changes<C>(self) -> (BoxChange<C>, Option<BoxChange<C>>) {
        let Self { mapping, inverse, collisions, delay } = self;
        let moving = |there: &Mapping, back: Option<&Mapping>| -> BoxChange<C> {
            Box::new(Moving { there: there.clone(), back: back.cloned(), collisions, delay })
        };
        let down = inverse.as_ref().map(|inverse| moving(inverse, Some(&mapping)));
        (moving(&mapping, inverse.as_ref()), down)
    }
}

/// A key that has the one prefix already is none that begins with the other, if that is shorter.
fn replace(from: Cow<'static, str>, to: Cow<'static, str>) -> impl Fn(&Key) -> Option<String> {
    move |key| {
        let is_moved = to.starts_with(&*from) && key.name.starts_with(&*to);
        let rest = key.name.strip_prefix(&*from).filter(|_| !is_moved)?;
        Some(format!("{to}{rest}"))
    }
}

impl fmt::Debug for Rekey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rekey")
            .field("prefix", &self.mapping.prefix())
            .field("collisions", &self.collisions)
            .field("reversible", &self.inverse.is_some())
            .finish_non_exhaustive()
    }
}
