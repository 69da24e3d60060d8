//! Tries again what failed for a moment: a second write to a key within a second (429), an error at the store.

use std::sync::Arc;
use std::time::Duration;

use super::{Around, KvError, Operation};
use crate::clock::Clock;

/// How long to wait before each further try. KV takes one write a second to a key, so less than a second is no use.
const WAITS: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];

/// Makes up to four further tries, over 15 seconds. Every operation can be repeated without harm: none adds to what
/// is there.
pub(crate) struct Retried(pub(crate) Arc<dyn Clock>);

impl Around for Retried {
    async fn around<T>(
        &self,
        _: Operation,
        _: &str,
        call: impl AsyncFn() -> Result<T, KvError>,
    ) -> Result<T, KvError> {
        for wait in WAITS {
            match call().await {
                Err(error) if error.is_retryable() => self.0.sleep(wait).await,
                result => return result,
            }
        }
        call().await
    }
}
