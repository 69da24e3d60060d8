//! What tests and simulations observe of an object's rows. Without the feature `testing` it is nothing.

#[cfg(feature = "testing")]
use std::sync::Arc;

/// Something that a coordinator has just written down.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "testing"),
    allow(dead_code, unreachable_pub, reason = "public and read with the feature `testing`")
)]
#[non_exhaustive]
pub enum JournalEvent {
    /// A step of a run begins a migration, or resumes it.
    #[non_exhaustive]
    Started {
        /// The number of the run.
        task: u64,
        /// The migration.
        id: String,
    },
    /// A marker was written, deleted or adopted.
    #[non_exhaustive]
    MarkerWritten {
        /// Its key in KV.
        key: String,
        /// Whether it says now that its migration is applied.
        is_applied: bool,
        /// The number of the run or the rollback that it belongs to. `None` if it was adopted from KV.
        task: Option<u64>,
    },
}

#[cfg(feature = "testing")]
type Observer = dyn Fn(&JournalEvent) + Send + Sync;

/// Is told each event right after it was written down. Clones tell the same observer.
#[derive(Clone, Default)]
pub(super) struct JournalObserver(#[cfg(feature = "testing")] Option<Arc<Observer>>);

impl JournalObserver {
    #[cfg(feature = "testing")]
    pub(super) fn new(observer: impl Fn(&JournalEvent) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(observer)))
    }

    pub(super) fn tell(&self, event: impl FnOnce() -> JournalEvent) {
        #[cfg(feature = "testing")]
        if let Some(observer) = &self.0 {
            observer(&event());
        }
        #[cfg(not(feature = "testing"))]
        let _ = (self, event);
    }
}
