//! The locks of this isolate: routes are mounted anew for every request, and must find the lock of the last one.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use kv_migrations::RunLock;

/// The lock of a service in a namespace.
pub(crate) fn run_lock(namespace: &str, prefix: &str) -> RunLock {
    static LOCKS: Mutex<BTreeMap<(String, String), RunLock>> = Mutex::new(BTreeMap::new());
    let mut locks = LOCKS.lock().unwrap_or_else(PoisonError::into_inner);
    locks.entry((namespace.to_owned(), prefix.to_owned())).or_default().clone()
}
