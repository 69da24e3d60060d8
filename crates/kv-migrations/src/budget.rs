//! How much one request may do, in KV operations and time, and how much it has done.

mod value_size;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::clock::{Clock, between};
pub(crate) use value_size::ValueSize;

/// What one run may use before it stops in good order. The next run resumes where it stopped.
///
/// | | [`paid_plan`](Self::paid_plan), the default | [`free_plan`](Self::free_plan) |
/// | --- | --- | --- |
/// | KV operations, with reserve | 900, 980 | 150, 166 |
/// | time | 25 seconds | 25 seconds |
/// | entries of long migrations | no limit | 100 |
/// | bytes of their values | no limit | 512 KiB |
///
/// - After this number of operations a run begins nothing more: no migration, no entry of a backfill.
/// - In the reserve, entries that have begun are finished, and the run records how far it got. No run makes more operations
///   than budget and reserve together.
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
    /// `None` for the default.
    reserve: Option<u64>,
    time: Duration,
    entries: u64,
    bytes: u64,
}

/// How many keys that are only listed take as much of a Worker's processor as one entry.
const KEYS_PER_ENTRY: usize = 25;

/// What a run needs at most to record how far it got: a marker that is looked at, and one that is written, each tried five
/// times, and some more.
const RECORDING: u64 = 16;

impl Default for Budget {
    fn default() -> Self {
        Self::paid_plan()
    }
}

impl Budget {
    /// Returns the budget of a Worker on a paid plan, which is also the default.
    ///
    /// A request has 30 seconds of processor time there, and 10,000 subrequests or more. But KV's own page says 1,000
    /// operations for either plan, and the budget keeps to these. The rest is for the service's own operations.
    ///
    /// Sources: <https://developers.cloudflare.com/workers/platform/limits/>,
    /// <https://developers.cloudflare.com/kv/platform/limits/>.
    ///
    /// # Example
    /// ```
    /// # use kv_migrations::Budget;
    /// assert_eq!(Budget::paid_plan(), Budget::default());
    /// ```
    pub const fn paid_plan() -> Self {
        let time = Duration::from_secs(25);
        Self { operations: 900, reserve: None, time, entries: u64::MAX, bytes: u64::MAX }
    }

    /// Returns the budget of a Worker on the free plan.
    ///
    /// A request has 10 milliseconds of processor time there. A Worker cannot measure how much it has used. So this budget
    /// limits what takes that time: operations, entries and bytes. A request that is cut off all the same leaves a
    /// checkpoint, and the next one does less. A day has 1,000 writes: see [`RunReport::quota_exhausted`](crate::RunReport::quota_exhausted).
    ///
    /// # Example
    /// ```
    /// # use kv_migrations::{Budget, Migration, Runner, RegistrationError, kv::MemoryStore};
    /// # fn example(migrations: Vec<Migration>) -> Result<Runner, RegistrationError> {
    /// let runner = Runner::new(MemoryStore::new(), "my-service", migrations)?.with_budget(Budget::free_plan());
    /// # Ok(runner)
    /// # }
    /// # assert!(example(Vec::new()).is_ok());
    /// ```
    pub const fn free_plan() -> Self {
        Self { operations: 150, entries: 100, bytes: 512 * 1024, ..Self::paid_plan() }
    }

    /// Sets how many entries long migrations may work on (default: any number). As many as have begun are finished; the first
    /// one always begins. 25 keys that are only listed count as one entry.
    #[must_use]
    pub const fn with_entries(mut self, entries: u64) -> Self {
        self.entries = entries;
        self
    }

    /// Sets how many bytes of values long migrations may read (default: any number). Once they have read as many, no entry
    /// begins.
    #[must_use]
    pub const fn with_bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets the number of KV operations (default 900). Failed operations count too, as they do at Cloudflare.
    #[must_use]
    pub fn with_operations(mut self, operations: u64) -> Self {
        self.operations = operations;
        self
    }

    /// Sets the reserve: how many operations more a run may make, to finish the entries that have begun and to record how
    /// far it got. The default is 80 for each 900 of the [budget](Self::with_operations), and 16 at least.
    #[must_use]
    pub fn with_reserve(mut self, operations: u64) -> Self {
        self.reserve = Some(operations);
        self
    }

    /// Sets the time (default 25 seconds).
    #[must_use]
    pub fn with_time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    pub(crate) fn operations(&self) -> u64 {
        self.operations
    }

    fn reserve(&self) -> u64 {
        self.reserve.unwrap_or_else(|| (self.operations / 45).saturating_mul(4).max(RECORDING))
    }

    /// The operations that work which has begun may make.
    fn cap(&self, has_reserve: bool) -> u64 {
        let all = self.operations.saturating_add(self.reserve()).saturating_sub(RECORDING);
        if has_reserve { all } else { all.min(self.operations) }
    }

    pub(crate) fn time(&self) -> Duration {
        self.time
    }

    pub(crate) fn seconds(&self) -> u64 {
        self.time.as_secs()
    }
}

/// Asks a run to end in good order before its budget is used up. Clones share the request.
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

/// Counts the operations that reach a store. Failed ones count too, as they do at Cloudflare. Clones share the count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counter(Arc<AtomicU64>);

impl Counter {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Measures what a request has used of its budget. Clones share the measurement.
#[derive(Clone)]
pub(crate) struct Meter(Arc<Usage>);

struct Usage {
    budget: Budget,
    counter: Counter,
    clock: Arc<dyn Clock>,
    start: SystemTime,
    interrupt: Interrupt,
    /// The operations after which no new work begins, if that is fewer than the budget has.
    limit: AtomicU64,
    has_reserve: AtomicBool,
    is_overdrawn: AtomicBool,
    /// Listed keys, and [`KEYS_PER_ENTRY`] for each entry.
    keys: AtomicU64,
    bytes: AtomicU64,
    /// How many more entries may begin, whatever the budget says.
    sample: AtomicU64,
    value_size: ValueSize,
    /// Whether all entries or bytes of the budget are used.
    is_spent: AtomicBool,
}

impl Meter {
    pub(crate) fn new(budget: Budget, counter: Counter, clock: Arc<dyn Clock>, interrupt: Interrupt) -> Self {
        let (start, is_overdrawn) = (clock.now(), AtomicBool::new(false));
        let (limit, has_reserve) = (AtomicU64::new(u64::MAX), AtomicBool::new(false));
        let (keys, bytes, is_spent) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        Self(Arc::new(Usage {
            budget,
            counter,
            clock,
            start,
            interrupt,
            limit,
            has_reserve,
            is_overdrawn,
            keys,
            bytes,
            sample: AtomicU64::new(u64::MAX),
            value_size: ValueSize::default(),
            is_spent,
        }))
    }

    /// Counts entries that a long migration works on.
    pub(crate) fn add_entries(&self, entries: usize) {
        self.set_sample(self.sample_left().saturating_sub(entries as u64));
        self.add_keys(entries.saturating_mul(KEYS_PER_ENTRY));
    }

    /// Lets at most this number of entries begin.
    pub(crate) fn set_sample(&self, entries: u64) {
        self.0.sample.store(entries, Ordering::Relaxed);
        if entries == 0 {
            self.0.is_spent.store(true, Ordering::Relaxed);
        }
    }

    /// How many more entries may begin, whatever the budget says.
    pub(crate) fn sample_left(&self) -> u64 {
        self.0.sample.load(Ordering::Relaxed)
    }

    /// Counts keys that a long migration lists.
    pub(crate) fn add_keys(&self, keys: usize) {
        let all = self.0.keys.fetch_add(keys as u64, Ordering::Relaxed).saturating_add(keys as u64);
        if all / KEYS_PER_ENTRY as u64 >= self.0.budget.entries {
            self.0.is_spent.store(true, Ordering::Relaxed);
        }
    }

    /// How many entries a long migration may still begin.
    pub(crate) fn entries_left(&self) -> u64 {
        let done = self.0.keys.load(Ordering::Relaxed) / KEYS_PER_ENTRY as u64;
        self.0.budget.entries.saturating_sub(done).min(self.sample_left())
    }

    /// Counts bytes of values that a long migration reads.
    pub(crate) fn add_bytes(&self, bytes: usize) {
        let all = self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed).saturating_add(bytes as u64);
        if all >= self.0.budget.bytes {
            self.0.is_spent.store(true, Ordering::Relaxed);
        }
    }

    /// How large the values are that the present walk reads.
    pub(crate) fn value_size(&self) -> &ValueSize {
        &self.0.value_size
    }

    /// Begins no new work after this many operations, because the request before was cut off. Work that has begun may
    /// still use the whole budget.
    pub(crate) fn set_limit(&self, operations: u64) {
        self.0.limit.store(operations, Ordering::Relaxed);
    }

    pub(crate) fn budget(&self) -> Budget {
        self.0.budget
    }

    /// All operations of the request so far.
    pub(crate) fn operations(&self) -> u64 {
        self.0.counter.count()
    }

    /// How many operations new work may still begin. Zero once the last tenth of the time has begun, which is reserved
    /// for ending in good order, once the run is interrupted, and once all entries or bytes of the budget are used.
    pub(crate) fn left(&self) -> u64 {
        self.left_at(self.0.clock.now())
    }

    /// How many operations new work may still begin at this time. The caller has read the clock: each reading is a call of
    /// JavaScript in a Worker.
    pub(crate) fn left_at(&self, now: SystemTime) -> u64 {
        let is_spent = self.0.is_spent.load(Ordering::Relaxed);
        if is_spent || self.time_left(now).is_zero() || self.0.interrupt.is_raised() {
            return 0;
        }
        let limit = self.0.limit.load(Ordering::Relaxed).min(self.0.budget.operations);
        limit.saturating_sub(self.operations())
    }

    /// Whether the next request may begin more than this one, although it begins with the same: this one was interrupted,
    /// or does less after one that was cut off.
    pub(crate) fn is_held_back(&self) -> bool {
        self.0.interrupt.is_raised() || self.0.limit.load(Ordering::Relaxed) < self.0.budget.operations
    }

    /// Lets work that has begun use the reserve, or not.
    pub(crate) fn set_reserve(&self, has_reserve: bool) {
        self.0.has_reserve.store(has_reserve, Ordering::Relaxed);
    }

    /// How many operations work that has begun may still make.
    pub(crate) fn room(&self) -> u64 {
        self.cap().saturating_sub(self.operations())
    }

    /// All operations that a request may make, up to the last one of work that has begun.
    pub(crate) fn cap(&self) -> u64 {
        self.0.budget.cap(self.0.has_reserve.load(Ordering::Relaxed))
    }

    /// The time in which new work may still begin.
    pub(crate) fn time_left(&self, now: SystemTime) -> Duration {
        let time = self.0.budget.time;
        time.saturating_sub(time / 10).saturating_sub(self.elapsed(now))
    }

    /// Whether an operation was refused because the budget was used up.
    pub(crate) fn is_overdrawn(&self) -> bool {
        self.0.is_overdrawn.load(Ordering::Relaxed)
    }

    /// Whether one more operation may be sent.
    pub(crate) fn admits(&self, now: SystemTime) -> bool {
        let is_within = self.operations() < self.cap() && self.elapsed(now) < self.0.budget.time;
        if !is_within {
            self.0.is_overdrawn.store(true, Ordering::Relaxed);
        }
        is_within
    }

    fn elapsed(&self, now: SystemTime) -> Duration {
        between(self.0.start, now)
    }
}
