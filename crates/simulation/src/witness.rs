//! Sees all that happens in a world, and says at once when something is as it must not be.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kv_migrations::Event;
use kv_migrations::kv::MemoryStore;

use crate::dice::Dice;
use crate::invariants::{self, Verdict, Violation};
use crate::network::Written;
use crate::plan::{Mode, Plan, Planned};
use crate::seen::{Isolate, Marked, Run, Seen};
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

    /// Whether a migration is marked as applied, in truth.
    pub fn is_marked(&self, number: usize) -> bool {
        self.seen().migrations[number].is_marked
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

    /// A new isolate.
    pub fn isolate(&self) -> usize {
        let mut seen = self.seen();
        seen.isolates.push(Isolate::default());
        seen.isolates.len() - 1
    }

    /// A run, or a rollback, begins.
    pub fn begin(&self, isolate: usize) -> usize {
        let mut seen = self.seen();
        let (began, finished) = (self.time.now(), Vec::new());
        let run = Run {
            isolate,
            began,
            is_frozen: false,
            is_over: false,
            inside: None,
            was_marked: false,
            finished,
        };
        seen.runs.push(run);
        let run = seen.runs.len() - 1;
        if self.plan.mode == Mode::Object {
            seen.isolates[isolate].holder = Some(run);
        }
        run
    }

    /// A run is not resumed any more, or is again.
    pub fn freeze(&self, run: usize, is_frozen: bool) {
        self.trace.note(|| format!("run {run} {}", if is_frozen { "is not resumed" } else { "is resumed" }));
        self.seen().runs[run].is_frozen = is_frozen;
    }

    /// A run has ended, or is dropped.
    pub fn end(&self, run: usize) {
        let run = &mut self.seen().runs[run];
        (run.is_over, run.inside) = (true, None);
    }

    /// A run sends an operation.
    pub fn operation(&self, run: usize, is_write: bool) {
        let mut seen = self.seen();
        if self.plan.mode == Mode::Object {
            // Anybody may read.
            if is_write {
                let verdict = invariants::one_step_at_a_time(&seen, run);
                self.keep(&mut seen, verdict);
            }
            return;
        }
        let verdict = invariants::one_run_at_a_time_in_an_isolate(&seen, run, self.time.now());
        self.keep(&mut seen, verdict);
        let Seen { runs, isolates, tally, .. } = &mut *seen;
        let this = &runs[run];
        let isolate = &mut isolates[this.isolate];
        (isolate.holder, isolate.last_operation) = (Some(run), self.time.now());
        let is_other = |other: &Run| !other.is_over && !other.is_frozen && other.inside.is_some();
        let recent = runs.iter().enumerate().rev().take(8);
        tally.overlapped |= this.inside.is_some()
            && recent.into_iter().any(|(number, other)| number != run && is_other(other));
    }

    /// A run tells what happens.
    pub fn event(&self, run: usize, event: &Event<'_>) {
        let id = match event {
            Event::Started { id, .. } | Event::Paused { id, .. } | Event::Failed { id, .. } => *id,
            Event::Applied(detail) => detail.id.as_str(),
            _ => return,
        };
        let Some(number) = self.plan.migrations.iter().position(|planned| planned.id == id) else { return };
        let mut seen = self.seen();
        if matches!(event, Event::Started { .. }) {
            self.trace.note(|| format!("run {run} begins {id}"));
            let verdict = invariants::in_the_order_of_registration(&seen, &self.plan, run, number);
            self.keep(&mut seen, verdict);
            let Seen { runs, migrations, tally, .. } = &mut *seen;
            runs[run].inside = Some(number);
            tally.repeated_unmarked |= migrations[number].is_finished && !migrations[number].is_marked;
            runs[run].was_marked = migrations[number].is_marked;
        } else {
            seen.tally.repeated_though_marked |=
                matches!(event, Event::Applied(_)) && seen.runs[run].was_marked;
            self.trace.note(|| format!("run {run}: {event:?}"));
            seen.runs[run].inside = None;
        }
    }

    /// The `up` of a migration is at work, for the first time in this run or again.
    pub fn at_work(&self, run: usize, number: usize) {
        if self.plan.mode != Mode::Object {
            return;
        }
        let mut seen = self.seen();
        if seen.runs[run].inside == Some(number) {
            return;
        }
        self.trace.note(|| format!("step {run} is at {}", self.plan.migrations[number].id));
        let once = invariants::what_is_applied_does_not_run_again(&seen, &self.plan, run, number);
        let verdict =
            once.and_then(|()| invariants::in_the_order_of_registration(&seen, &self.plan, run, number));
        self.keep(&mut seen, verdict);
        seen.runs[run].inside = Some(number);
        seen.migrations[number].is_begun = true;
        let Seen { migrations, tally, .. } = &mut *seen;
        tally.repeated_unmarked |= migrations[number].is_finished && !migrations[number].is_marked;
    }

    /// A rollback that runs in one piece is about to undo something, or has undone all.
    pub fn undoes(&self, number: usize, is_done: bool) {
        let mut seen = self.seen();
        seen.migrations[number].is_half_undone = !is_done;
        seen.tally.rolled_back = true;
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

    /// An object has recorded a marker.
    pub fn recorded(&self, run: Option<usize>, key: &str, is_applied: bool, truth: &MemoryStore) {
        let Some(planned) = self.plan.migrations.iter().find(|planned| planned.marker() == key) else {
            return;
        };
        self.trace.note(|| format!("    object: {key} is {}applied", if is_applied { "" } else { "not " }));
        let mut seen = self.seen();
        seen.migrations[planned.number].is_begun = true;
        if let Some(run) = run {
            let verdict = invariants::one_step_at_a_time(&seen, run);
            self.keep(&mut seen, verdict);
        }
        self.mark(&mut seen, planned, run, is_applied, truth);
    }

    /// The `up` of a migration is about to return `Ok`.
    pub fn finished(&self, run: usize, number: usize) {
        let mut seen = self.seen();
        seen.runs[run].finished.push(number);
        seen.migrations[number].is_finished = true;
    }

    /// A write took effect.
    pub fn written(&self, written: &Written<'_>, truth: &MemoryStore) {
        let (key, value) = (written.key, written.value);
        self.trace.note(|| {
            let value =
                value.map(|value| String::from_utf8_lossy(value).chars().take(60).collect::<String>());
            format!("    KV: {key} is {}", value.as_deref().unwrap_or("deleted"))
        });
        let mut seen = self.seen();
        // What a step had sent that ended by itself may be on its way still.
        let step = written.run.filter(|run| self.plan.mode == Mode::Object && !seen.runs[*run].is_over);
        if let Some(run) = step {
            let verdict = invariants::one_step_at_a_time(&seen, run);
            self.keep(&mut seen, verdict);
        }
        let Some(planned) = self.plan.migrations.iter().find(|planned| planned.marker() == key) else {
            let (plan, versions, tally) = (&self.plan, &self.versions, &mut seen.tally);
            let verdict = invariants::an_entry_is_deleted_only_if_it_is_elsewhere(
                plan, versions, written, truth, tally,
            );
            return self.keep(&mut seen, verdict);
        };
        if self.plan.mode != Mode::Object {
            self.mark(&mut seen, planned, written.run, value == Some(b"true"), truth);
        }
    }

    /// A migration is marked as applied, or is not any more.
    fn mark(
        &self,
        seen: &mut Seen,
        planned: &Planned,
        run: Option<usize>,
        is_marked: bool,
        truth: &MemoryStore,
    ) {
        if is_marked && !seen.migrations[planned.number].is_marked {
            let of_run = invariants::marked_by_whom_it_was_finished(seen, planned, run);
            let verdict = of_run.and_then(|()| invariants::marked_is_done(&self.plan, planned, truth));
            self.keep(seen, verdict);
        }
        let marked = &mut seen.migrations[planned.number];
        if marked.is_marked && !is_marked {
            marked.unmarked_at = Some(self.time.now());
            marked.is_half_undone = false;
            marked.is_finished = false;
        }
        marked.is_marked = is_marked;
    }

    /// Changes what is counted.
    pub fn count(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.seen().tally);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
