//! Those who wait for the next run, which they share.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counts callers who wait for the next run, until it begins.
#[derive(Default)]
pub(crate) struct Sharing(Mutex<SharingState>);

#[derive(Default)]
struct SharingState {
    /// How many wait for a run that has not begun.
    count: u64,
    /// How many runs have begun.
    runs: u64,
}

/// One who waits for a run: not any more if it is dropped before that begins.
pub(crate) struct WaitingCaller<'a> {
    sharing: &'a Sharing,
    /// How many runs had begun.
    runs: u64,
}

impl Sharing {
    pub(crate) fn join(&self) -> WaitingCaller<'_> {
        let mut state = self.state();
        state.count += 1;
        WaitingCaller { sharing: self, runs: state.runs }
    }

    /// How many wait for the run that begins now. They do not wait for the next one.
    pub(crate) fn take(&self) -> u64 {
        let mut state = self.state();
        state.runs += 1;
        std::mem::take(&mut state.count)
    }

    fn state(&self) -> MutexGuard<'_, SharingState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WaitingCaller<'_> {
    /// Counts for the run that begins next, even if the caller does not wait for its beginning.
    pub(crate) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for WaitingCaller<'_> {
    fn drop(&mut self) {
        let mut state = self.sharing.state();
        if state.runs == self.runs {
            state.count = state.count.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_shares_a_run_that_has_not_begun_counts_for_it() {
        let sharing = Sharing::default();
        sharing.join().keep();
        drop(sharing.join());
        assert_eq!((sharing.take(), sharing.take()), (1, 0));
    }

    #[test]
    fn who_leaves_before_the_run_begins_does_not_count_and_who_leaves_later_does() {
        let sharing = Sharing::default();
        let (first, second, third) = (sharing.join(), sharing.join(), sharing.join());
        drop(first);
        assert_eq!(sharing.take(), 2);
        let fourth = sharing.join();
        drop((second, third));
        assert_eq!(sharing.take(), 1, "they were counted for the run before");
        drop(fourth);
        assert_eq!(sharing.take(), 0);
    }
}
