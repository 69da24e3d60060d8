//! The locks of this isolate: routes are mounted anew for every request, and must find the lock of the last one.

use std::sync::{Mutex, PoisonError};

use kv_migrations::RunLock;

/// The lock of a service in a namespace.
pub(crate) fn run_lock(namespace: &str, prefix: &str) -> RunLock {
    static LOCKS: Mutex<Vec<(String, String, RunLock)>> = Mutex::new(Vec::new());
    let mut locks = LOCKS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = locks.iter().find(|(name, other, _)| name == namespace && other == prefix);
    if let Some((_, _, lock)) = known {
        return lock.clone();
    }
    let lock = RunLock::new();
    locks.push((namespace.to_owned(), prefix.to_owned(), lock.clone()));
    lock
}
