//! At most one run at a time in one process, which for a Worker is one isolate.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::clock::{Clock, between};

/// How long a run may go without a KV operation before its lease is up.
const LEASE: Duration = Duration::from_mins(1);

/// Lets one run at a time through.
///
/// A run holds a lease of 60 seconds, renewed by each of its KV operations, and gives it back when it ends. A lease
/// that nobody renews is up by itself: when a client hangs up, the Workers runtime may neither resume nor drop what
/// it was waiting for, and a lock that counted on that would stay shut
/// (<https://github.com/cloudflare/workers-rs/issues/653>). A run that comes back after its lease went to another
/// is stopped at its next KV operation.
///
/// Clones are the same lock.
///
/// # Example
/// ```
/// use kv_migrations::{Migration, RunLock, Runner, kv::MemoryStore};
///
/// # fn main() -> Result<(), kv_migrations::RegistrationError> {
/// let (store, lock) = (MemoryStore::new(), RunLock::new());
/// let migrations = Vec::<Migration>::new();
/// let runner = Runner::new(store, "my-service", migrations)?.with_lock(lock.clone());
/// // Every other runner of this service in this process gets the same lock.
/// # let _ = runner;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct RunLock {
    lease: Arc<Mutex<Option<Lease>>>,
}

#[derive(Debug)]
struct Lease {
    holder: Arc<()>,
    /// The last sign of life.
    renewed: SystemTime,
    migration: Option<String>,
}

impl RunLock {
    /// A lock that nobody holds.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the lease, or says for how long another run still has it.
    pub(crate) fn acquire(&self, clock: &Arc<dyn Clock>) -> Result<Claim, Duration> {
        let now = clock.now();
        let mut lease = self.lease();
        if let Some(lease) = &mut *lease {
            // A clock that was set back must not make the lease longer.
            lease.renewed = lease.renewed.min(now);
            if let Some(left) = lease.left(now) {
                return Err(left);
            }
        }
        let holder = Arc::new(());
        *lease = Some(Lease { holder: holder.clone(), renewed: now, migration: None });
        Ok(Claim { lock: self.clone(), clock: clock.clone(), holder })
    }

    /// The migration whose `up` or `down` runs at this moment under this lock.
    pub(crate) fn running(&self, clock: &dyn Clock) -> Option<String> {
        let lease = self.lease();
        lease.as_ref().filter(|lease| lease.left(clock.now()).is_some())?.migration.clone()
    }

    fn lease(&self) -> MutexGuard<'_, Option<Lease>> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// How long it still lasts, if it does.
    fn left(&self, now: SystemTime) -> Option<Duration> {
        let silent = between(self.renewed, now);
        LEASE.checked_sub(silent).filter(|left| !left.is_zero())
    }
}

/// The right to run, until it is dropped or up.
pub(crate) struct Claim {
    lock: RunLock,
    clock: Arc<dyn Clock>,
    holder: Arc<()>,
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("lock", &self.lock).finish_non_exhaustive()
    }
}

impl Claim {
    /// Says which migration now runs; false if the lease is not this run's any more.
    pub(crate) fn begin(&self, migration: &str) -> bool {
        self.with_lease(|lease| lease.migration = Some(migration.to_owned()))
    }

    /// Whether the lease is still this run's; if so, it now lasts anew.
    pub(crate) fn renew(&self) -> bool {
        self.with_lease(|lease| lease.renewed = self.clock.now())
    }

    fn with_lease(&self, change: impl FnOnce(&mut Lease)) -> bool {
        match &mut *self.lock.lease() {
            Some(lease) if Arc::ptr_eq(&lease.holder, &self.holder) => {
                change(lease);
                true
            }
            _ => false,
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut lease = self.lock.lease();
        if lease.as_ref().is_some_and(|lease| Arc::ptr_eq(&lease.holder, &self.holder)) {
            *lease = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::clock::ManualClock;

    fn fixture() -> (RunLock, ManualClock, Arc<dyn Clock>) {
        let clock = ManualClock::default();
        (RunLock::new(), clock.clone(), Arc::new(clock))
    }

    #[test]
    fn a_second_run_waits_for_the_first_to_end() {
        let (lock, _, clock) = fixture();
        let first = lock.acquire(&clock).expect("nobody holds it");
        assert_eq!(lock.acquire(&clock).expect_err("the first run holds it"), LEASE);
        drop(first);
        lock.acquire(&clock).expect("the first run has ended");
    }

    #[test]
    fn a_lease_that_nobody_renews_is_up_after_its_time() {
        let (lock, time, clock) = fixture();
        let hung = lock.acquire(&clock).expect("nobody holds it");
        time.advance(LEASE.checked_sub(Duration::from_secs(1)).expect("a lease is longer than a second"));
        assert_eq!(lock.acquire(&clock).expect_err("a second is left"), Duration::from_secs(1));
        time.advance(Duration::from_secs(1));
        let next = lock.acquire(&clock).expect("the lease is up");

        assert!(!hung.renew(), "a run that comes back must not go on beside the next one");
        drop(hung);
        assert!(next.renew(), "and its end must not free what is another's");
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_keep_the_door_shut() {
        let lock = RunLock::new();
        let at = |minutes| -> Arc<dyn Clock> {
            Arc::new(ManualClock::at(UNIX_EPOCH + Duration::from_mins(minutes)))
        };
        let _hung = lock.acquire(&at(60)).expect("nobody holds it");
        assert_eq!(lock.acquire(&at(0)).expect_err("it may still go on"), LEASE);
        lock.acquire(&at(1)).expect("a minute has passed since");
    }

    #[test]
    fn progress_renews_the_lease() {
        let (lock, time, clock) = fixture();
        let long = lock.acquire(&clock).expect("nobody holds it");
        for _ in 0..10 {
            time.advance(Duration::from_secs(59));
            assert!(long.renew(), "59 seconds are within the lease");
            lock.acquire(&clock).expect_err("the run goes on");
        }
    }
}
