//! Listing: all keys of a prefix page by page, or one key with its metadata and expiration.

use std::fmt;
use std::vec;

use futures_core::Stream;
use futures_util::stream;

use super::{Key, KvError, ListOptions, Page, Store, StoreExt};

/// All keys of a prefix, in the order of their UTF-8 bytes: call [`next`](Self::next) until it returns `None`, or turn it
/// into a [`Stream`](Self::into_stream).
///
/// Every 1,000 keys cost one operation. Keys that are written or deleted in the meantime may or may not be listed.
#[must_use = "nothing is listed until it is asked for the next key"]
pub struct Keys<'a> {
    store: &'a dyn Store,
    prefix: &'a str,
    page: vec::IntoIter<Key>,
    rest: Rest,
}

/// What is still to be listed after the page.
enum Rest {
    All,
    From(String),
    Nothing,
}

impl<'a> Keys<'a> {
    pub(crate) fn new(store: &'a dyn Store, prefix: &'a str) -> Self {
        Self { store, prefix, page: Vec::new().into_iter(), rest: Rest::All }
    }

    /// Returns the next key; `None` after the last one. After an error, the same page is requested again.
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
            let page = self.store.list(ListOptions::new(self.prefix).with_cursor(cursor)).await?;
            self.page = page.keys.into_iter();
            self.rest = page.cursor.map_or(Rest::Nothing, Rest::From);
        }
    }

    /// Turns it into a stream, which ends after an error.
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

/// A key with its metadata and expiration, which only a list returns: the key is the first one of those that begin with
/// it. One operation.
pub(crate) async fn find(store: &dyn Store, key: &str) -> Result<Option<Key>, KvError> {
    let mut cursor: Option<String> = None;
    loop {
        let options = ListOptions::new(key).with_cursor(cursor.as_deref()).with_limit(1);
        let Page { mut keys, cursor: next } = store.list(options).await?;
        // A page can be empty although more pages follow.
        if !keys.is_empty() || next.is_none() {
            return Ok(keys.pop().filter(|found| found.name == key));
        }
        cursor = next;
    }
}
