//! Tries again what failed for a moment: a second write to a key within a second (429), an error at the store.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use super::{Answer, KvError, Request, Store};
use crate::clock::Clock;

/// How long to wait before each further try. KV takes one write a second to a key, so less than a second is no use.
const WAITS: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];

/// What was refused and tried again: how often, and the last answer. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Refusals(Arc<Mutex<Option<(u64, KvError)>>>);

impl Refusals {
    pub(crate) fn last(&self) -> Option<(u64, KvError)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, error: &KvError) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = last.take().map_or(0, |(number, _)| number);
        *last = Some((number + 1, error.clone()));
    }
}

/// Makes up to four further tries, over 15 seconds. Repeating an operation that took effect although it failed does
/// the same again, over what others may have written meanwhile: so can any write in KV.
pub(crate) struct Retried {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) refusals: Refusals,
    pub(crate) store: Arc<dyn Store>,
}

impl Store for Retried {
    fn call<'a>(&'a self, request: Request<'a>) -> LocalBoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(async move {
            for wait in WAITS {
                match self.store.call(request).await {
                    Err(error) if error.is_retryable() => {
                        self.refusals.add(&error);
                        self.clock.sleep(wait).await;
                    }
                    result => return result,
                }
            }
            self.store.call(request).await
        })
    }
}
