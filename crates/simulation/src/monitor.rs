//! Sees all that happens in a world, and says at once when something is as it must not be.

mod marks;
mod runs;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kv_migrations::coordinator::HistoryEntry;
use kv_migrations::kv::MemoryStore;

use crate::dice::Dice;
use crate::invariants::{self, Verdict, Violation};
use crate::plan::Plan;
use crate::seen::{Marked, Seen};
use crate::tally::Tally;
use crate::time::Time;
use crate::trace::Trace;
use crate::versions::Versions;

/// What is known of a world. Clones are the same.
#[derive(Clone)]
pub struct Witness {
    /// What happened, line by line.
    pub trace: Trace,
    plan: Arc<Plan>,
    versions: Versions,
    time: Time,
    seen: Arc<Mutex<Seen>>,
}

impl Witness {
    /// Of a world in which nothing has happened.
    pub fn new(plan: Arc<Plan>, versions: Versions, time: Time, trace: Trace) -> Self {
        let migrations = vec![Marked::default(); plan.migrations.len()];
        let seen = Seen { migrations, ..Seen::default() };
        Self { trace, plan, versions, time, seen: Arc::new(Mutex::new(seen)) }
    }

    /// What went wrong, if anything did.
    pub fn violation(&self) -> Option<Violation> {
        self.seen().violation.clone()
    }

    /// Whether something went wrong.
    pub fn has_violation(&self) -> bool {
        self.seen().violation.is_some()
    }

    /// What can happen, and did.
    pub fn tally(&self) -> Tally {
        self.seen().tally
    }

    /// From now on an object coordinates the runs, or none does; what ran before has ended.
    pub fn set_coordinated(&self, is_coordinated: bool) {
        let mut seen = self.seen();
        seen.is_coordinated = is_coordinated;
        let now = self.time.now();
        for run in seen.runs.iter_mut().filter(|run| !run.is_over) {
            (run.is_over, run.ended, run.inside) = (true, now, None);
        }
    }

    /// An object is idle, and tells what its runs did.
    pub fn is_idle(&self, history: &[HistoryEntry], truth: &MemoryStore) {
        let mut seen = self.seen();
        let verdict = invariants::the_history_is_true(&seen, &self.plan, history);
        let same = invariants::the_markers_in_kv_are_those_of_the_object(&seen, &self.plan, truth);
        self.keep(&mut seen, verdict.and(same));
    }

    /// Whether there can be two forms of an entry that is re-keyed, so that a run which was cut off, or which others ran
    /// beside, may have to ask which one is right.
    pub fn may_ask_for_help(&self) -> bool {
        self.plan.has_two_forms() || self.seen().was_out_of_order
    }

    /// Whether data can be counted on to be right.
    pub fn is_exact(&self) -> bool {
        self.seen().is_exact(&self.plan)
    }

    /// Takes down what a check says.
    pub fn check(&self, verdict: Verdict) {
        self.keep(&mut self.seen(), verdict);
    }

    fn keep(&self, seen: &mut Seen, verdict: Verdict) {
        if let Err(violation) = verdict {
            self.trace.note(|| format!("VIOLATION of {violation}"));
            seen.violation.get_or_insert(violation);
        }
    }

    /// Something that is rolled back in part, and cannot be left so.
    pub fn half_undone(&self) -> Option<usize> {
        self.seen().migrations.iter().position(|marked| marked.is_half_undone && marked.is_marked)
    }

    /// What can be rolled back: the last that was begun, where migrations build on those before.
    pub fn undoable(&self, is_last: bool, dice: &Dice) -> Option<usize> {
        let seen = self.seen();
        if is_last {
            return seen.migrations.iter().rposition(|marked| marked.is_begun);
        }
        Some(dice.below(seen.migrations.len()))
    }

    /// Changes what is counted.
    pub fn count(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.seen().tally);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
