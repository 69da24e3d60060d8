//! A write that keeps metadata and expiration unless told otherwise.

use std::fmt;
use std::future::IntoFuture;

use serde::Serialize;

use super::policy::PolicyStore;
use super::{Expiration, Key, KvError, KvErrorKind, Metadata, Operation, PutOptions, StoreExt, find, limits};
use crate::clock::seconds;
use crate::future::BoxFuture;

/// Where a put gets the metadata or the expiration from.
#[derive(PartialEq, Eq)]
enum Source {
    /// What the entry has.
    Kept,
    Options,
    /// Nowhere: the value cannot be written as JSON.
    NotSerializable,
}

/// A write that has not been sent yet: `.await` it.
///
/// The entry keeps its metadata and its expiration unless they are set here. To find them costs one more operation, a
/// list, which is left out if both are set; or cleared by [`clear_options`](Self::clear_options), for a key that is new. An entry that would expire within the next 70 seconds gets 70 seconds from
/// now, because KV takes no nearer expiration. An entry that expires after January 2038, which the runtime cannot write,
/// is an error.
///
/// A list can be stale: metadata that was set a moment ago, here or elsewhere, may not be found yet, and is then lost. Set
/// both where the same entry is written twice.
///
/// # Example
/// ```
/// # use kv_migrations::kv::{Kv, KvError, MemoryStore};
/// # async fn example(kv: &Kv) -> Result<(), KvError> {
/// kv.put("greeting", "hello").await?; // a new value for the same entry
/// kv.put("session_1", "{}").with_expiration_ttl(7 * 60 * 60).await?; // seven hours from now
/// kv.put("flag", "on").clear_options().await?; // as a new entry, whatever was there: one operation
///
/// let mut sessions = kv.list("session_");
/// while let Some(session) = sessions.next().await? {
///     let Some(value) = kv.bytes(&session.name).await? else { continue };
///     let name = session.name.replace("session_", "session:");
///     kv.put(&name, value).with_options_of(&session).await?; // with its metadata, and for as long
/// }
/// # Ok(())
/// # }
/// # futures::executor::block_on(example(&Kv::new(MemoryStore::new()))).unwrap();
/// ```
#[must_use = "nothing is written until it is awaited"]
pub struct Put<'a> {
    store: &'a PolicyStore,
    key: &'a str,
    /// `None` if it cannot be written as JSON.
    value: Option<Vec<u8>>,
    options: PutOptions,
    metadata: Source,
    expiration: Source,
}

impl<'a> Put<'a> {
    /// `value` is `None` if it cannot be written as JSON.
    pub(super) fn new(store: &'a PolicyStore, key: &'a str, value: Option<Vec<u8>>) -> Self {
        let options = PutOptions::new();
        Self { store, key, value, options, metadata: Source::Kept, expiration: Source::Kept }
    }

    /// Sets the metadata: at most 1,024 bytes of JSON.
    pub fn with_metadata(mut self, metadata: &impl Serialize) -> Self {
        let metadata = Metadata::new(metadata).ok();
        self.metadata = if metadata.is_some() { Source::Options } else { Source::NotSerializable };
        self.options.metadata = metadata;
        self
    }

    /// Sets metadata and expiration to those of a listed key: to move an entry to another key, or to rewrite a listed entry
    /// without another list.
    pub fn with_options_of(self, key: &Key) -> Self {
        let expiration = key.expiration.map(|at| writable(at, self.now()));
        let mut put = self.expiring(expiration);
        (put.metadata, put.options.metadata) = (Source::Options, key.metadata.clone());
        put
    }

    /// Removes the metadata.
    pub fn clear_metadata(mut self) -> Self {
        (self.metadata, self.options.metadata) = (Source::Options, None);
        self
    }

    /// Removes metadata and expiration, so that the key is written as a new one, by a single operation.
    ///
    /// # Example
    /// ```
    /// # use kv_migrations::kv::{Kv, KvError, MemoryStore};
    /// # async fn example() -> Result<(), KvError> {
    /// let store = MemoryStore::new();
    /// let kv = Kv::new(store.clone());
    /// kv.put("flag", "on").clear_options().await?;
    /// assert_eq!(store.operations(), 1);
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example()).unwrap();
    /// ```
    pub fn clear_options(self) -> Self {
        self.clear_metadata().clear_expiration()
    }

    /// Lets the entry expire this many seconds from now: at least 60.
    pub fn with_expiration_ttl(self, seconds: u64) -> Self {
        self.expiring(Some(Expiration::After(seconds)))
    }

    /// Lets the entry expire at this time, in seconds since 1970: at least 60 seconds from now.
    pub fn with_expiration(self, seconds: u64) -> Self {
        self.expiring(Some(Expiration::At(seconds)))
    }

    /// Removes the expiration.
    pub fn clear_expiration(self) -> Self {
        self.expiring(None)
    }

    fn expiring(mut self, expiration: Option<Expiration>) -> Self {
        (self.expiration, self.options.expiration) = (Source::Options, expiration);
        self
    }

    fn now(&self) -> u64 {
        seconds(self.store.policy.clock.now())
    }

    /// Nothing is moved out of `self`: moves between two awaits would double the code in every user's wasm.
    async fn write(mut self) -> Result<(), KvError> {
        let value = self.value.as_deref().filter(|_| self.metadata != Source::NotSerializable);
        let Some(value) = value else {
            return Err(KvError::new(Operation::Put, self.key, KvErrorKind::NotSerializable));
        };
        if (self.metadata == Source::Kept || self.expiration == Source::Kept)
            && let Some(found) = find(self.store, self.key).await?
        {
            if self.metadata == Source::Kept {
                self.options.metadata = found.metadata;
            }
            if self.expiration == Source::Kept {
                self.options.expiration = found.expiration.map(|at| writable(at, self.now()));
            }
        }
        self.store.put(self.key, value, &self.options).await
    }
}

/// `at`, or the nearest expiration that KV takes, with 10 seconds for the write to arrive.
pub(crate) fn writable(at: u64, now: u64) -> Expiration {
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
    type IntoFuture = BoxFuture<'a, Self::Output>;

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
