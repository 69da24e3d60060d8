//! What one run or rollback shares: KV, the ledger, the budget, the lease, the log and the observer.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::budget::{Budget, Interrupt, Meter};
use crate::clock::Clock;
use crate::error::Error;
use crate::future::BoxFuture;
use crate::kv::{Kv, Namespaces, Policy, Store};
use crate::ledger::Ledger;
use crate::lock::{LeaseGuard, RunLock};
use crate::log::EscapedLog;
use crate::random::Random;
use crate::report::{Event, Observer};

/// What every session of a runner is opened with.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) service: String,
    pub(crate) store: Arc<dyn Store>,
    /// The store of the markers, if it is another one.
    pub(crate) journal: Option<Arc<dyn Store>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) log: EscapedLog,
    pub(crate) lock: RunLock,
    pub(crate) budget: Budget,
    pub(crate) interrupt: Interrupt,
    /// The prefixes of other services in the same namespace that may have the same migrations.
    pub(crate) other_services: Vec<String>,
    pub(crate) random: Random,
    /// Who asks.
    pub(crate) label: Option<String>,
    /// What stands in front of every namespace, if something does.
    pub(crate) namespaces: Option<Arc<dyn Namespaces>>,
}

impl Settings {
    /// A ledger for reading: it takes no lease.
    pub(crate) fn ledger(&self) -> Ledger {
        self.ledger_with(Policy::new(self.clock.clone(), None))
    }

    fn ledger_with(&self, policy: Policy) -> Ledger {
        match &self.journal {
            None => Ledger::new(Kv::with_policy(self.store.clone(), policy), &self.service),
            Some(journal) => Ledger::for_journal(Kv::with_policy(journal.clone(), policy), &self.service),
        }
    }
}

/// One run or one rollback in one request. It gives its lease back when it is dropped.
pub(crate) struct Session<'a> {
    /// For migrations: within the budget.
    pub(crate) kv: Kv,
    /// Beyond the budget, so that how far a run got can always be recorded.
    pub(crate) ledger: Ledger,
    pub(crate) meter: Meter,
    pub(crate) random: Random,
    policy: Policy,
    lease: Arc<LeaseGuard>,
    settings: &'a Settings,
    observer: &'a Observer<'a>,
    /// See [`waited_before`](Self::waited_before): of the migration that runs, and of the one before it.
    waited: Cell<Option<u64>>,
    waited_before: Cell<Option<u64>>,
}

impl<'a> Session<'a> {
    /// Takes the lease, without which no operation is sent.
    pub(crate) fn open(settings: &'a Settings, observer: &'a Observer<'a>) -> Result<Box<Self>, Error> {
        let lease = settings.lock.acquire(settings.clock.now());
        let lease = Arc::new(lease.map_err(|retry_after| Error::RunInProgress { retry_after })?);
        let namespaces = settings.namespaces.clone();
        let policy = Policy::with_namespaces(settings.clock.clone(), Some(&lease), namespaces);
        let (counter, clock) = (policy.counter.clone(), settings.clock.clone());
        let meter = Meter::new(settings.budget, counter, clock, settings.interrupt.clone());
        let kv = Kv::with_policy(settings.store.clone(), policy.clone().with_meter(&meter));
        let ledger = settings.ledger_with(policy.clone());
        let random = settings.random.clone();
        let (waited, waited_before) = (Cell::default(), Cell::default());
        Ok(Box::new(Self {
            kv,
            ledger,
            meter,
            random,
            policy,
            lease,
            settings,
            observer,
            waited,
            waited_before,
        }))
    }

    /// Notes in the log and in the lock which migration runs now. False if another run has the lease.
    pub(crate) fn begin(&self, id: &str, line: &str) -> bool {
        self.waited_before.set(self.waited.take());
        let is_current = self.lease.begin(id);
        if is_current {
            self.log().info(line);
        }
        is_current
    }

    /// The end of the migration's wait for KV's delay, in seconds since 1970, since whose start it wrote nothing.
    pub(crate) fn set_waited(&self, until: u64) {
        self.waited.set(Some(until));
    }

    /// The same of the migration that ran just before, in this session: what was written before that wait can be seen.
    pub(crate) fn waited_before(&self) -> Option<u64> {
        self.waited_before.get()
    }

    /// Whether no other run has taken the lease.
    pub(crate) fn is_current(&self) -> bool {
        self.lease.renew(self.now())
    }

    pub(crate) fn notify(&self, event: &Event) {
        (self.observer)(event);
    }

    pub(crate) fn log(&self) -> &EscapedLog {
        &self.settings.log
    }

    /// Who asks.
    pub(crate) fn label(&self) -> Option<&str> {
        self.settings.label.as_deref()
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.policy.clock.now()
    }

    pub(crate) fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        self.policy.clock.sleep(duration)
    }

    /// The markers in KV, whether or not the ledger is a coordinator's.
    pub(crate) fn ledger_in_kv(&self) -> Ledger {
        let kv = Kv::with_policy(self.settings.store.clone(), self.policy.clone());
        Ledger::new(kv, &self.settings.service)
    }

    /// All KV operations so far.
    pub(crate) fn operations(&self) -> u64 {
        self.meter.operations()
    }

    /// Whether an operation of this run was over KV's daily quota.
    pub(crate) fn is_over_quota(&self) -> bool {
        self.policy.until_quota().is_some() && self.is_current()
    }

    /// Whether an operation was over KV's daily quota. If so, sets the time until that begins again.
    pub(crate) fn retry_after_quota(&self, retry_after: &mut Option<Duration>) -> bool {
        let until = self.policy.until_quota();
        *retry_after = until.or(*retry_after);
        until.is_some()
    }

    /// The text of an error for work that does not fit into the budget: what is too large, and what to do instead.
    pub(crate) fn over_budget(&self, what: &str, instead: &str) -> String {
        let budget = self.meter.budget();
        let (operations, seconds) = (budget.operations(), budget.seconds());
        let refused = self.policy.refusals.text();
        format!(
            "{what} the {operations} KV operations and {seconds} seconds that a request may take, reads of markers \
             included: {instead}, or set a larger budget, if the Worker may make more{refused}"
        )
    }
}
