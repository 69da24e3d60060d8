//! All keys of a prefix, page after page.

use std::fmt;
use std::vec;

use futures_util::stream::{self, Stream};

use super::{Key, KvError, ListOptions, Store, StoreExt};

/// The keys of a prefix to the last one, in the order of their UTF-8 bytes: call [`next`](Self::next) until there is
/// none, or make it a [`Stream`](Self::into_stream).
///
/// Every 1,000 keys cost one operation. Keys that are written or deleted meanwhile may or may not be among them.
#[must_use = "nothing is listed until it is asked for the next key"]
pub struct Keys<'a> {
    store: &'a dyn Store,
    prefix: &'a str,
    page: vec::IntoIter<Key>,
    rest: Rest,
}

/// What is left to be listed behind the page.
enum Rest {
    All,
    From(String),
    Nothing,
}

impl<'a> Keys<'a> {
    pub(crate) fn new(store: &'a dyn Store, prefix: &'a str) -> Self {
        Self { store, prefix, page: Vec::new().into_iter(), rest: Rest::All }
    }

    /// The next key; none after the last one. After an error, the same page is asked for again.
    pub async fn next(&mut self) -> Result<Option<Key>, KvError> {
        loop {
            if let Some(key) = self.page.next() {
                return Ok(Some(key));
            }
            let cursor = match &self.rest {
                Rest::All => None,
                Rest::From(cursor) => Some(cursor.as_str()),
                Rest::Nothing => return Ok(None),
            };
            // A page can be empty although there are more.
            let page = self.store.list(ListOptions { prefix: self.prefix, cursor, limit: None }).await?;
            self.page = page.keys.into_iter();
            self.rest = page.cursor.map_or(Rest::Nothing, Rest::From);
        }
    }

    /// The same as a stream, which ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Key, KvError>> + 'a {
        stream::unfold(Some(self), async |keys| {
            let mut keys = keys?;
            match keys.next().await {
                Ok(key) => Some((Ok(key?), Some(keys))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }
}

impl fmt::Debug for Keys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
