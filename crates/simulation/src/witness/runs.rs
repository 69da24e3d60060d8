//! What runs do.

use kv_migrations::Event;

use super::Witness;
use crate::invariants;
use crate::plan::Mode;
use crate::seen::{Isolate, Run, Seen};

impl Witness {
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

    /// The `up` of a migration is about to return `Ok`.
    pub fn finished(&self, run: usize, number: usize) {
        let mut seen = self.seen();
        seen.runs[run].finished.push(number);
        seen.migrations[number].is_finished = true;
    }

    /// A rollback that runs in one piece is about to undo something, or has undone all.
    pub fn undoes(&self, number: usize, is_done: bool) {
        let mut seen = self.seen();
        seen.migrations[number].is_half_undone = !is_done;
        seen.tally.rolled_back = true;
    }
}
