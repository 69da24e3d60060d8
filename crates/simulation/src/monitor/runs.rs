//! What runs do.

use kv_migrations::Event;

use super::Witness;
use crate::invariants;
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
            ended: 0,
            inside: None,
            was_marked: false,
            had_broken_rows: false,
            finished,
        };
        seen.runs.push(run);
        let run = seen.runs.len() - 1;
        if seen.is_coordinated {
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
        (run.is_over, run.ended, run.inside) = (true, self.time.now(), None);
    }

    /// A run sends an operation.
    pub fn operation(&self, run: usize, is_write: bool) {
        let mut seen = self.seen();
        if seen.is_coordinated {
            // Anybody may read.
            let verdict = if is_write { invariants::one_step_at_a_time(&seen, run) } else { Ok(()) };
            seen.tally.overlapped |= verdict.is_err();
            return self.keep(&mut seen, verdict);
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

    /// A run without a coordinator tells what happens.
    pub fn event(&self, run: usize, event: &Event) {
        let id = match event {
            Event::Started { id, .. } | Event::Paused { id, .. } | Event::Failed { id, .. } => id.as_str(),
            Event::Applied(detail) => detail.id.as_str(),
            _ => return,
        };
        let Some(number) = self.plan.number(id) else { return };
        if matches!(event, Event::Started { .. }) {
            return self.begins(run, number);
        }
        self.trace.note(|| format!("run {run}: {event:?}"));
        let mut seen = self.seen();
        seen.tally.repeated_though_marked |= matches!(event, Event::Applied(_)) && seen.runs[run].was_marked;
        seen.runs[run].inside = None;
    }

    /// The `up` of a migration is at work, for the first time in this run or again.
    pub fn at_work(&self, run: usize, number: usize) {
        let is_known = {
            let seen = self.seen();
            !seen.is_coordinated || seen.runs[run].inside == Some(number)
        };
        if !is_known {
            self.begins(run, number);
        }
    }

    /// A migration begins, or is carried on.
    pub(super) fn begins(&self, run: usize, number: usize) {
        self.trace.note(|| format!("run {run} begins {}", self.plan.migrations[number].id));
        let mut seen = self.seen();
        let once = invariants::what_is_applied_does_not_run_again(&seen, &self.plan, run, number);
        let verdict =
            once.and_then(|()| invariants::in_the_order_of_registration(&mut seen, &self.plan, run, number));
        self.keep(&mut seen, verdict);
        seen.was_half_undone |= seen.migrations.iter().take(number).any(|before| before.is_half_undone);
        let Seen { runs, migrations, tally, .. } = &mut *seen;
        let migration = &mut migrations[number];
        migration.is_begun = true;
        tally.repeated_unmarked |= migration.is_finished && !migration.is_marked;
        (runs[run].inside, runs[run].was_marked) = (Some(number), migration.is_marked);
    }

    /// The `up` of a migration is about to return `Ok`.
    pub fn finished(&self, run: usize, number: usize) {
        let mut seen = self.seen();
        seen.runs[run].finished.push(number);
        seen.migrations[number].is_finished = true;
    }

    /// A rollback that runs in one piece is about to undo something.
    pub fn undoes(&self, number: usize) {
        let mut seen = self.seen();
        seen.migrations[number].is_half_undone = true;
        seen.tally.rolled_back = true;
    }
}
