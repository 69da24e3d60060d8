//! How operations are sent: retried, counted, a few at once, and only while their run has its lease and some budget left.

mod connections;
mod entry;
mod refusals;

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{Answer, KvError, KvErrorKind, Request, Store, limits};
use crate::budget::{Counter, Meter};
use crate::clock::Clock;
use crate::future::BoxFuture;
use crate::lock::LeaseGuard;
pub(crate) use connections::Connections;
use entry::EntryHooks;
pub(crate) use entry::{EntryOperations, HighestCost};
pub(crate) use refusals::Refusals;

/// The policy of a run, or of operations outside one. Clones share the count, the connections and the budget.
#[derive(Clone)]
pub(crate) struct Policy {
    shared: Arc<Shared>,
    /// The budget. `None` for operations that record how far a run got.
    meter: Option<Meter>,
    /// The operations of the entry that they belong to, if they belong to one. A trait object, so that only Workers with
    /// long migrations carry its code.
    entry: Option<Arc<dyn EntryHooks>>,
}

/// What all operations of a run share.
pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counter: Counter,
    pub(crate) refusals: Refusals,
    /// The time until a quota begins again that was used up, in seconds. Zero if none was.
    until_quota: AtomicU64,
    connections: Connections,
    /// The lease without which nothing is sent. `None` outside a run.
    lease: Option<Weak<LeaseGuard>>,
    /// What stands in front of every namespace, if something does.
    pub(crate) namespaces: Option<Arc<dyn Namespaces>>,
}

/// Puts a store in front of each namespace that a run works on, as a dry run and the step of a coordinator do. A trait object,
/// so that only Workers with these carry their code.
pub(crate) trait Namespaces: Send + Sync {
    fn in_front_of(&self, store: Arc<dyn Store>) -> Arc<dyn Store>;

    /// Whether nothing that is written reaches KV.
    fn is_dry_run(&self) -> bool {
        false
    }
}

/// What the policy shares is used as its own.
impl Deref for Policy {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Policy {
    /// The policy of operations that belong to no run; or, with a lease, to the run that has it: they are sent only while
    /// it does.
    pub(crate) fn new(clock: Arc<dyn Clock>, lease: Option<&Arc<LeaseGuard>>) -> Self {
        Self::with_namespaces(clock, lease, None)
    }

    /// The same for a run with something in front of its namespaces.
    pub(crate) fn with_namespaces(
        clock: Arc<dyn Clock>,
        lease: Option<&Arc<LeaseGuard>>,
        namespaces: Option<Arc<dyn Namespaces>>,
    ) -> Self {
        let shared = Shared {
            clock,
            counter: Counter::default(),
            refusals: Refusals::default(),
            until_quota: AtomicU64::new(0),
            connections: Connections::new(limits::MAX_CONNECTIONS),
            lease: lease.map(Arc::downgrade),
            namespaces,
        };
        Self { shared: Arc::new(shared), meter: None, entry: None }
    }

    /// Sends only while the budget lasts.
    pub(crate) fn with_meter(self, meter: &Meter) -> Self {
        Self { meter: Some(meter.clone()), ..self }
    }

    /// Counts the operations as those of an entry, too.
    pub(crate) fn with_entry(self, operations: EntryOperations) -> Self {
        Self { entry: Some(Arc::new(operations)), ..self }
    }

    /// The policy of operations of the same work in another namespace.
    pub(super) fn in_other_namespace(self) -> Self {
        Self { entry: self.entry.map(|entry| entry.in_other_namespace()), ..self }
    }

    /// The time until a quota begins again that the operations so far have used up.
    pub(crate) fn until_quota(&self) -> Option<Duration> {
        let seconds = self.until_quota.load(Ordering::Relaxed);
        (seconds > 0).then(|| Duration::from_secs(seconds))
    }

    /// Notes that the entry is not done, whatever its work makes of that.
    pub(super) fn cut_off(&self) {
        self.entry.iter().for_each(|entry| entry.cut_off());
    }

    pub(super) fn add_bytes(&self, bytes: usize) {
        self.meter.iter().for_each(|meter| meter.add_bytes(bytes));
    }

    pub(super) fn note_values(&self, found: usize, bytes: usize) {
        self.meter.iter().for_each(|meter| meter.value_size().note(found, bytes));
    }

    /// Counts one more operation, if it may be sent.
    pub(super) fn admit(&self) -> Result<(), KvErrorKind> {
        let now = self.clock.now();
        if self.meter.as_ref().is_some_and(|meter| !meter.admits(now)) {
            self.cut_off();
            return Err(KvErrorKind::OverBudget);
        }
        let is_current = |lease: &Weak<LeaseGuard>| lease.upgrade().is_some_and(|lease| lease.renew(now));
        if !self.lease.as_ref().is_none_or(is_current) {
            return Err(KvErrorKind::Superseded);
        }
        self.counter.add();
        self.entry.iter().for_each(|entry| entry.add());
        Ok(())
    }
}

/// The pauses before each retry, in seconds. KV takes one write a second to a key, so that a shorter pause is useless.
pub(crate) const PAUSES: [u64; 4] = [1, 2, 4, 8];

/// A store under a policy. One decorator does it all: every layer of futures costs bytes in every user's wasm.
pub(crate) struct PolicyStore {
    pub(super) policy: Policy,
    pub(super) store: Arc<dyn Store>,
}

impl PolicyStore {
    /// Sends once, as soon as a connection is free. A retry is counted again, and needs the lease and the budget again.
    async fn send(&self, request: Request<'_>) -> Result<Answer, KvError> {
        let _connection = self.policy.connections.take().await;
        let admitted = self.policy.admit();
        admitted.map_err(|kind| KvError::new(request.operation(), request.key(), kind))?;
        self.store.call(request).await
    }
}

impl Store for PolicyStore {
    /// Retries up to four times over 15 seconds after a temporary failure: a second write to a key within a second (429),
    /// an error of the store (5xx). A write that took effect although it failed is thereby repeated, over what others may
    /// have written in the meantime; any write in KV can do that. The first write to an entry of a backfill or a re-key
    /// is not repeated after a 429: the entry is looked at again, and worked on with its new value.
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(async move {
            let mut pauses = PAUSES.iter();
            loop {
                let result = self.send(request).await;
                if let Err(error) = &result
                    && let KvErrorKind::QuotaExhausted { retry_after } = error.kind()
                {
                    self.policy.until_quota.store(retry_after.as_secs().max(1), Ordering::Relaxed);
                }
                let pause = match &result {
                    Err(error) if error.is_retryable() => pauses.next().zip(Some(error)),
                    _ => None,
                };
                let entry = self.policy.entry.as_ref();
                let Some((seconds, error)) = pause else {
                    if let Some(entry) = entry {
                        entry.note(request, &result);
                    }
                    return result;
                };
                self.policy.refusals.add(error);
                if entry.is_some_and(|entry| entry.forbids_retry(request, error)) {
                    return result;
                }
                self.policy.clock.sleep(Duration::from_secs(*seconds)).await;
            }
        })
    }
}
