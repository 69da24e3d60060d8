//! A write that does not lose what it was not told to replace.

use std::fmt;
use std::future::IntoFuture;

use futures_util::future::LocalBoxFuture;
use serde::Serialize;

use super::{Expiration, Key, Kv, KvError, KvErrorKind, Metadata, Operation, PutOptions, StoreExt, limits};

/// What becomes of something that the entry may already have.
#[derive(Debug, Clone)]
enum Setting<T> {
    Keep,
    Set(Option<T>),
}

/// A write under way: `.await` it.
///
/// The entry keeps the metadata and the expiration that it has, unless they are set here. To find them costs one
/// more operation, a list; set both, and it is not made. An entry that would have expired within the next 70 seconds
/// gets 70 seconds from now, since KV takes no nearer expiration; one that expires after January 2038, which the
/// runtime cannot write, is an error.
///
/// A list can be stale: what was set a moment ago, here or elsewhere, may not be found yet, and is then lost. Set both
/// where the same entry is written twice.
///
/// # Example
/// ```
/// # use kv_migrations::kv::{Kv, KvError, MemoryStore};
/// # async fn example(kv: &Kv) -> Result<(), KvError> {
/// kv.put("greeting", "hello").await?; // a new value for the same entry
/// kv.put("session_1", "{}").expires_after(7 * 60 * 60).await?; // seven hours from now
/// kv.put("flag", "on").no_metadata().never_expires().await?; // as a new entry, whatever was there
///
/// let mut sessions = kv.list("session_");
/// while let Some(session) = sessions.next().await? {
///     let Some(value) = kv.bytes(&session.name).await? else { continue };
///     let name = session.name.replace("session_", "session:");
///     kv.put(&name, value).like(&session).await?; // with its metadata, and for as long
/// }
/// # Ok(())
/// # }
/// # futures_util::FutureExt::now_or_never(example(&Kv::new(MemoryStore::new()))).unwrap().unwrap();
/// ```
#[must_use = "nothing is written until it is awaited"]
pub struct Put<'a> {
    kv: &'a Kv,
    key: &'a str,
    value: Result<Vec<u8>, NotSerializable>,
    metadata: Setting<Result<Metadata, NotSerializable>>,
    expiration: Setting<Expiration>,
}

/// What was to be written cannot be written as JSON.
#[derive(Debug, Clone)]
pub(crate) struct NotSerializable;

impl<'a> Put<'a> {
    pub(crate) fn new(kv: &'a Kv, key: &'a str, value: Result<Vec<u8>, NotSerializable>) -> Self {
        Self { kv, key, value, metadata: Setting::Keep, expiration: Setting::Keep }
    }

    /// Sets the metadata: at most 1,024 bytes of JSON.
    pub fn metadata(mut self, metadata: &impl Serialize) -> Self {
        let metadata = Metadata::new(metadata).map_err(|_| NotSerializable);
        self.metadata = Setting::Set(Some(metadata));
        self
    }

    /// Gives the entry the metadata and the expiration that a list told of `key`: to move an entry to another key, or
    /// to rewrite one that was just listed without having it looked up again.
    pub fn like(mut self, key: &Key) -> Self {
        self.metadata = Setting::Set(key.metadata.clone().map(Ok));
        self.expiration = Setting::Set(key.expiration.map(|at| writable(at, self.kv.now_seconds())));
        self
    }

    /// Leaves the entry without metadata.
    pub fn no_metadata(mut self) -> Self {
        self.metadata = Setting::Set(None);
        self
    }

    /// Lets the entry expire so many seconds from now, at least 60.
    pub fn expires_after(mut self, seconds: u64) -> Self {
        self.expiration = Setting::Set(Some(Expiration::After(seconds)));
        self
    }

    /// Lets the entry expire at this time, in seconds since 1970, at least 60 seconds ahead.
    pub fn expires_at(mut self, seconds: u64) -> Self {
        self.expiration = Setting::Set(Some(Expiration::At(seconds)));
        self
    }

    /// Keeps the entry until it is deleted.
    pub fn never_expires(mut self) -> Self {
        self.expiration = Setting::Set(None);
        self
    }

    async fn write(self) -> Result<(), KvError> {
        let Self { kv, key, value, metadata, expiration } = self;
        let fail = |NotSerializable| KvError::new(Operation::Put, key, KvErrorKind::NotSerializable);
        let value = value.map_err(fail)?;
        let mut options = match (&metadata, &expiration) {
            (Setting::Set(_), Setting::Set(_)) => PutOptions::default(),
            _ => kept(kv.find(key).await?, kv.now_seconds()),
        };
        if let Setting::Set(metadata) = metadata {
            options.metadata = metadata.transpose().map_err(fail)?;
        }
        if let Setting::Set(expiration) = expiration {
            options.expiration = expiration;
        }
        kv.store().put(key, &value, &options).await
    }
}

/// What the entry has beside its value.
fn kept(found: Option<Key>, now: u64) -> PutOptions {
    found.map_or_else(PutOptions::default, |found| PutOptions {
        metadata: found.metadata,
        expiration: found.expiration.map(|at| writable(at, now)),
    })
}

/// The nearest expiration to `at` that KV still takes, with 10 seconds left for the write to arrive.
fn writable(at: u64, now: u64) -> Expiration {
    const NEAREST: u64 = limits::MIN_TTL_SECONDS + 10;
    if at < now.saturating_add(NEAREST) { Expiration::After(NEAREST) } else { Expiration::At(at) }
}

/// Without the value: it is the user's.
impl fmt::Debug for Put<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Put").field("key", &self.key).finish_non_exhaustive()
    }
}

impl<'a> IntoFuture for Put<'a> {
    type Output = Result<(), KvError>;
    type IntoFuture = LocalBoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.write())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiration_that_is_too_near_is_moved_to_the_nearest_that_kv_takes() {
        assert_eq!(writable(1_000, 100), Expiration::At(1_000));
        assert_eq!(writable(170, 100), Expiration::At(170));
        assert_eq!(writable(169, 100), Expiration::After(70));
        assert_eq!(writable(99, 100), Expiration::After(70));
    }
}
