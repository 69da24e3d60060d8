//! A store with the quotas of the free plan.

use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::{Clock, day, until_quota_begins};
use crate::future::BoxFuture;
use crate::kv::{Answer, KvError, Operation, Request, Store};

/// `store`, which takes at most `limit` puts, `limit` deletes and `limit` lists a day. Days begin at 00:00 UTC.
///
/// On the free plan the limit is 1,000, for all namespaces of an account together
/// (<https://developers.cloudflare.com/kv/platform/limits/>). Reads are not limited here.
///
/// # Example
/// ```
/// use kv_migrations::kv::{Kv, MemoryStore};
/// use kv_migrations::testing::{ManualClock, daily_quota};
/// use std::sync::Arc;
/// use std::time::{Duration, UNIX_EPOCH};
///
/// # async fn example() {
/// let clock = ManualClock::starting_at(UNIX_EPOCH + Duration::from_hours(23));
/// let kv = Kv::new(daily_quota(MemoryStore::new(), Arc::new(clock.clone()), 1));
/// assert!(kv.put("a", "1").clear_metadata().clear_expiration().await.is_ok());
/// assert!(kv.put("b", "1").clear_metadata().clear_expiration().await.is_err());
/// clock.advance(Duration::from_hours(1));
/// assert!(kv.put("b", "1").clear_metadata().clear_expiration().await.is_ok());
/// # }
/// # futures::executor::block_on(example());
/// ```
pub fn daily_quota<S: Store>(store: S, clock: Arc<dyn Clock>, limit: u64) -> impl Store {
    DailyQuota { store, clock, limit, used: Mutex::default() }
}

struct DailyQuota<S> {
    store: S,
    clock: Arc<dyn Clock>,
    limit: u64,
    used: Mutex<Used>,
}

/// What was done on one day.
#[derive(Default)]
struct Used {
    day: u64,
    puts: u64,
    deletes: u64,
    lists: u64,
}

impl<S: Store> DailyQuota<S> {
    /// Counts an operation, if the quota covers it.
    fn admits(&self, operation: Operation) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let day = day(self.clock.now());
        if used.day != day {
            *used = Used { day, ..Used::default() };
        }
        let count = match operation {
            Operation::Put => &mut used.puts,
            Operation::Delete => &mut used.deletes,
            Operation::List => &mut used.lists,
            Operation::Get | Operation::GetBulk => return true,
        };
        let is_within = *count < self.limit;
        *count += u64::from(is_within);
        is_within
    }
}

impl<S: Store> Store for DailyQuota<S> {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(async move {
            if !self.admits(request.operation()) {
                return Err(request.quota_exhausted(until_quota_begins(self.clock.now())));
            }
            self.store.call(request).await
        })
    }
}
