//! Refuses writes by which a backfill would make entries for itself, without end.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::change::prefixes::Prefixes;
use crate::future::BoxFuture;
use crate::kv::{Answer, KvError, Request, Store};

/// The namespace as the closure of one entry sees it: without writes to keys of its prefixes that the backfill visits
/// later. Each of these would be an entry of its own when its turn comes.
pub(super) struct NoWritesAhead {
    store: Arc<dyn Store>,
    prefixes: Prefixes,
    /// The key of the entry.
    name: String,
    has_refused: AtomicBool,
}

impl NoWritesAhead {
    pub(super) fn new(store: Arc<dyn Store>, prefixes: Prefixes, name: &str) -> Self {
        Self { store, prefixes, name: name.to_owned(), has_refused: AtomicBool::new(false) }
    }

    pub(super) fn has_refused(&self) -> bool {
        self.has_refused.load(Ordering::Relaxed)
    }
}

impl Store for NoWritesAhead {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        match request {
            Request::Put { key, .. }
                if key > self.name.as_str()
                    && let Some(prefix) = self.prefixes.of(key) =>
            {
                self.has_refused.store(true, Ordering::Relaxed);
                let message = format!(
                    "it was not sent, because this backfill of `{prefix}` would visit the key later, as another entry. To \
                     move entries to new keys, make it a `Rekey`. If the write is meant, call `allow_writes_ahead` on the \
                     backfill"
                );
                Box::pin(ready(Err(request.refused(None, message))))
            }
            _ => self.store.call(request),
        }
    }
}
