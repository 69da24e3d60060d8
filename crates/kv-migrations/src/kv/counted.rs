//! Counts the operations that reach a store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Around, KvError, Operation};

/// How many operations were sent, failed ones included: Cloudflare counts those too. Clones share the count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counter(Arc<AtomicU64>);

impl Counter {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Adds one to its counter for every operation.
pub(crate) struct Counted(pub(crate) Counter);

impl Around for Counted {
    async fn around<T>(
        &self,
        _: Operation,
        _: &str,
        call: impl AsyncFn() -> Result<T, KvError>,
    ) -> Result<T, KvError> {
        self.0.0.fetch_add(1, Ordering::Relaxed);
        call().await
    }
}
