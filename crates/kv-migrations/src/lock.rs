//! At most one run at a time in one process, which for a Worker is one isolate.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::clock::{Clock, between};

/// How long a run may go without a KV operation before its lease expires.
const LEASE_TERM: Duration = Duration::from_mins(1);

/// Allows one run at a time.
///
/// A run holds a lease of 60 seconds. Each of its KV operations renews the lease, and the run gives it back when it
/// ends. A lease that is not renewed expires: when a client hangs up, the Workers runtime may neither resume nor drop
/// the request, so a lock that is only released on drop would stay locked
/// (<https://github.com/cloudflare/workers-rs/issues/653>). A run that resumes after its lease went to another run is
/// stopped at its next KV operation.
///
/// Clones are the same lock. Runners on the KV of a Worker share the lock of their service, so that they need not be
/// given one: see [`of_process`](Self::of_process).
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
    /// When it was renewed last.
    renewed: SystemTime,
    migration: Option<String>,
}

impl RunLock {
    /// Creates a free lock.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the lock of a service in this process, which for a Worker is one isolate: the same at every call.
    ///
    /// A runner on a Worker's KV has it by itself. Give it to a runner on a store of your own around that KV.
    ///
    /// The prefix of the service alone counts. Two namespaces in which a service has the same prefix share the lock: of
    /// two runs at the same moment, the second is refused.
    ///
    /// # Example
    /// ```
    /// use kv_migrations::{Migration, RunLock, Runner, kv::MemoryStore};
    ///
    /// # fn main() -> Result<(), kv_migrations::RegistrationError> {
    /// let store = MemoryStore::new(); // or a store around a Worker's KV
    /// let runner = Runner::new(store, "my-service", Vec::<Migration>::new())?
    ///     .with_lock(RunLock::of_process("my-service"));
    /// # let _ = runner;
    /// # Ok(())
    /// # }
    /// ```
    pub fn of_process(service: &str) -> Self {
        static LOCKS: Mutex<Vec<(String, RunLock)>> = Mutex::new(Vec::new());
        let mut locks = LOCKS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, lock)) = locks.iter().find(|(known, _)| known == service) {
            return lock.clone();
        }
        let lock = Self::new();
        locks.push((service.to_owned(), lock.clone()));
        lock
    }

    /// Takes the lease. The error is the time for which another run still holds it.
    pub(crate) fn acquire(&self, now: SystemTime) -> Result<LeaseGuard, Duration> {
        let mut lease = self.lease();
        if let Some(lease) = &mut *lease {
            // A clock that is set back must not extend the lease.
            lease.renewed = lease.renewed.min(now);
            if let Some(left) = lease.left(now) {
                return Err(left);
            }
        }
        let holder = Arc::new(());
        *lease = Some(Lease { holder: holder.clone(), renewed: now, migration: None });
        Ok(LeaseGuard { lock: self.clone(), holder })
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
    /// The time until it expires; `None` if it has.
    fn left(&self, now: SystemTime) -> Option<Duration> {
        let silent = between(self.renewed, now);
        LEASE_TERM.checked_sub(silent).filter(|left| !left.is_zero())
    }
}

/// The lease of one run, until it is dropped or expires.
pub(crate) struct LeaseGuard {
    lock: RunLock,
    holder: Arc<()>,
}

impl fmt::Debug for LeaseGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseGuard").field("lock", &self.lock).finish_non_exhaustive()
    }
}

impl LeaseGuard {
    /// Notes which migration runs now. False if another run has the lease.
    pub(crate) fn begin(&self, migration: &str) -> bool {
        self.with_lease(|lease| lease.migration = Some(migration.to_owned()))
    }

    /// Renews the lease. False if another run has it.
    pub(crate) fn renew(&self, now: SystemTime) -> bool {
        self.with_lease(|lease| lease.renewed = now)
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

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        let mut lease = self.lock.lease();
        if lease.as_ref().is_some_and(|lease| Arc::ptr_eq(&lease.holder, &self.holder)) {
            *lease = None;
        }
    }
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::testing::ManualClock;

    fn fixture() -> (RunLock, ManualClock) {
        (RunLock::new(), ManualClock::default())
    }

    #[test]
    fn a_second_run_is_refused_until_the_first_ends() {
        let (lock, clock) = fixture();
        let first = lock.acquire(clock.now()).expect("nobody holds it");
        assert_eq!(lock.acquire(clock.now()).expect_err("the first run holds it"), LEASE_TERM);
        drop(first);
        lock.acquire(clock.now()).expect("the first run has ended");
    }

    #[test]
    fn the_lock_of_a_service_is_the_same_at_every_call_and_not_another_services() {
        let (_, clock) = fixture();
        let _run = RunLock::of_process("lock-of-a").acquire(clock.now()).expect("nobody holds it");
        RunLock::of_process("lock-of-a").acquire(clock.now()).expect_err("it is the same lock");
        RunLock::of_process("lock-of-a_v2").acquire(clock.now()).expect("it is another service's");
    }

    #[test]
    fn a_lease_that_is_not_renewed_expires() {
        let (lock, clock) = fixture();
        let hung = lock.acquire(clock.now()).expect("nobody holds it");
        clock.advance(
            LEASE_TERM.checked_sub(Duration::from_secs(1)).expect("a lease is longer than a second"),
        );
        assert_eq!(lock.acquire(clock.now()).expect_err("a second is left"), Duration::from_secs(1));
        clock.advance(Duration::from_secs(1));
        let next = lock.acquire(clock.now()).expect("the lease has expired");

        assert!(!hung.renew(clock.now()), "a run that comes back must not go on beside the next one");
        drop(hung);
        assert!(next.renew(clock.now()), "and its end must not free what is another's");
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_extend_a_lease() {
        let lock = RunLock::new();
        let at = |minutes| UNIX_EPOCH + Duration::from_mins(minutes);
        let _hung = lock.acquire(at(60)).expect("nobody holds it");
        assert_eq!(lock.acquire(at(0)).expect_err("it may still go on"), LEASE_TERM);
        lock.acquire(at(1)).expect("a minute has passed since");
    }

    #[test]
    fn progress_renews_the_lease() {
        let (lock, clock) = fixture();
        let long = lock.acquire(clock.now()).expect("nobody holds it");
        for _ in 0..10 {
            clock.advance(Duration::from_secs(59));
            assert!(long.renew(clock.now()), "59 seconds are within the lease");
            lock.acquire(clock.now()).expect_err("the run goes on");
        }
    }
}
