//! Counts the operations that reach a store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many operations were sent, failed ones included: Cloudflare counts those too. Clones share the count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counter(Arc<AtomicU64>);

impl Counter {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
