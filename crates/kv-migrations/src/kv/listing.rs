//! All keys of a prefix, page after page.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::stream::{self, LocalBoxStream, Stream};

use super::{Key, KvError, ListOptions, Store};

/// The keys of a prefix to the last one, in the order of their UTF-8 bytes: a [`Stream`], or call
/// [`next`](Self::next) until there is none.
///
/// Every 1,000 keys cost one operation. Keys that are written or deleted meanwhile may or may not be among them.
/// After an error it ends.
#[must_use = "nothing is listed until it is asked for the next key"]
pub struct Keys<'a> {
    stream: LocalBoxStream<'a, Result<Key, KvError>>,
}

/// What is left to be listed.
enum Rest {
    From(Option<String>),
    Nothing,
}

impl<'a> Keys<'a> {
    pub(crate) fn new(store: &'a dyn Store, prefix: &'a str) -> Self {
        let pages = stream::unfold(Rest::From(None), move |rest| async move {
            let Rest::From(cursor) = rest else { return None };
            let options = ListOptions { prefix, cursor: cursor.as_deref(), limit: None };
            Some(match store.list(options).await {
                Ok(page) => {
                    let rest = page.cursor.map_or(Rest::Nothing, |cursor| Rest::From(Some(cursor)));
                    (page.keys.into_iter().map(Ok).collect(), rest)
                }
                Err(error) => (vec![Err(error)], Rest::Nothing),
            })
        });
        Self { stream: pages.flat_map(|keys: Vec<_>| stream::iter(keys)).boxed_local() }
    }

    /// The next key; none after the last one.
    pub async fn next(&mut self) -> Result<Option<Key>, KvError> {
        self.stream.next().await.transpose()
    }
}

impl Stream for Keys<'_> {
    type Item = Result<Key, KvError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.stream.poll_next_unpin(context)
    }
}

impl fmt::Debug for Keys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}
