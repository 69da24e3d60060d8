//! A store that refuses to write some keys, for as long as a test wants it.

use std::sync::Arc;

use kv_migrations::BoxFuture;
use kv_migrations::kv::{Answer, KvError, Request, Store};

/// Refuses every put to a key that begins so, while there is a key `refuse`.
pub struct Refused {
    prefix: String,
    store: Arc<dyn Store>,
}

impl Refused {
    pub fn parse(prefix: &str, store: Arc<dyn Store>) -> Option<Self> {
        (!prefix.is_empty()).then(|| Self { prefix: prefix.to_owned(), store })
    }
}

impl Store for Refused {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(async move {
            if matches!(request, Request::Put { key, .. } if key.starts_with(&self.prefix))
                && let Answer::Entry(Some(_)) = self.store.call(Request::Get { key: "refuse" }).await?
            {
                return Err(request.refused(Some(403), "on purpose"));
            }
            self.store.call(request).await
        })
    }
}
