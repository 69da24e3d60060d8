//! How much one request may do: KV operations and time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use crate::clock::{Clock, between};
use crate::kv::Counter;

/// What one run may use up before it stops in good order: the next one carries on.
///
/// The default is 900 KV operations and 25 seconds. A Worker on the free plan may make 1,000 operations in a request;
/// what is left is for recording how far the run got, and for your own. On a paid plan it is 10,000 and more, but
/// KV's own page still says 1,000.
///
/// Sources: <https://developers.cloudflare.com/workers/platform/limits/>,
/// <https://developers.cloudflare.com/kv/platform/limits/>.
///
/// # Example
/// ```
/// use kv_migrations::{Budget, Migration, Runner, kv::MemoryStore};
/// use std::time::{Duration, SystemTime};
///
/// let budget = Budget::default().with_operations(9_000).with_time(Duration::from_mins(2));
/// let runner = Runner::new(MemoryStore::new(), "my-service", Vec::<Migration>::new())?.with_budget(budget);
/// # let _ = runner;
/// # Ok::<(), kv_migrations::RegistrationError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    operations: u64,
    time: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self { operations: 900, time: Duration::from_secs(25) }
    }
}

impl Budget {
    /// The same with another number of KV operations. Those that failed count too, as they do at Cloudflare.
    #[must_use]
    pub fn with_operations(mut self, operations: u64) -> Self {
        self.operations = operations;
        self
    }

    /// The same with another time.
    #[must_use]
    pub fn with_time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    pub(crate) fn operations(&self) -> u64 {
        self.operations
    }

    pub(crate) fn time(&self) -> Duration {
        self.time
    }

    pub(crate) fn seconds(&self) -> u64 {
        self.time.as_secs()
    }
}

/// Asks a run to end in good order before its budget is used up. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    pub(crate) fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a run has used up of its budget. Clones are the same.
#[derive(Clone)]
pub(crate) struct Spending(Arc<Account>);

struct Account {
    budget: Budget,
    counter: Counter,
    clock: Arc<dyn Clock>,
    start: SystemTime,
    interrupt: Interrupt,
    is_overdrawn: AtomicBool,
}

impl Spending {
    pub(crate) fn new(budget: Budget, counter: Counter, clock: Arc<dyn Clock>, interrupt: Interrupt) -> Self {
        let (start, is_overdrawn) = (clock.now(), AtomicBool::new(false));
        Self(Arc::new(Account { budget, counter, clock, start, interrupt, is_overdrawn }))
    }

    pub(crate) fn budget(&self) -> Budget {
        self.0.budget
    }

    /// What is left for more operations than the next few: none once the last tenth of the time has begun, which is
    /// for ending in good order, or when it is asked to end.
    pub(crate) fn left(&self) -> u64 {
        let time = self.0.budget.time;
        if self.elapsed() >= time.saturating_sub(time / 10) || self.0.interrupt.is_raised() {
            return 0;
        }
        self.0.budget.operations.saturating_sub(self.0.counter.count())
    }

    /// Whether an operation was refused because nothing was left.
    pub(crate) fn is_overdrawn(&self) -> bool {
        self.0.is_overdrawn.load(Ordering::Relaxed)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        between(self.0.start, self.0.clock.now())
    }

    /// Whether one more operation may be sent.
    pub(crate) fn take(&self) -> bool {
        let Budget { operations, time } = self.0.budget;
        let is_within = self.0.counter.count() < operations && self.elapsed() < time;
        if !is_within {
            self.0.is_overdrawn.store(true, Ordering::Relaxed);
        }
        is_within
    }
}
