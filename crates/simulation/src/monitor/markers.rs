//! What is written: to KV, or to the rows of an object.

use kv_migrations::kv::MemoryStore;

use super::Witness;
use crate::invariants;
use crate::network::Written;
use crate::noted::{Marker, Noted};
use crate::plan::Planned;
use crate::seen::{Applied, Seen};

impl Witness {
    /// An object has written rows.
    pub fn noted(&self, step: Option<usize>, noted: &Noted, truth: &MemoryStore) {
        if let (Some(step), Some(number)) = (step, noted.begun.as_deref().and_then(|id| self.plan.number(id)))
        {
            self.begins(step, number);
        }
        for marker in &noted.markers {
            self.recorded(step, marker, truth);
        }
    }

    /// The storage of an object has failed.
    pub fn rows_failed(&self, step: Option<usize>) {
        self.trace.note(|| "    the object's storage fails".to_owned());
        let now = self.time.now();
        let mut seen = self.seen();
        if let Some(step) = step {
            seen.runs[step].had_broken_rows = true;
        }
        if let Some(applied) = seen.applied.last_mut() {
            applied.may_be_untold |= applied.at == now;
        }
    }

    fn recorded(&self, run: Option<usize>, marker: &Marker, truth: &MemoryStore) {
        let Marker { key, is_applied, run: applied_by } = marker;
        let (key, is_applied) = (key.as_str(), *is_applied);
        let Some(planned) = self.plan.migrations.iter().find(|planned| planned.marker() == key) else {
            return;
        };
        self.trace.note(|| format!("    object: {key} is {}applied", if is_applied { "" } else { "not " }));
        let mut seen = self.seen();
        seen.migrations[planned.number].is_begun = true;
        if let (true, Some(applied_by)) = (is_applied, *applied_by) {
            let begun = invariants::what_is_applied_was_begun(&seen, planned, run);
            self.keep(&mut seen, begun);
            let (migration, at) = (planned.number, self.time.now());
            seen.applied.push(Applied { run: applied_by, migration, at, may_be_untold: false });
        }
        if let Some(run) = run {
            let verdict = invariants::one_step_at_a_time(&seen, run);
            self.keep(&mut seen, verdict);
        }
        self.mark(&mut seen, planned, run, is_applied, truth);
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
        if let (true, Some(run)) = (seen.is_coordinated, written.run) {
            let verdict = invariants::one_step_at_a_time(&seen, run);
            self.keep(&mut seen, verdict);
        }
        let now = self.time.now();
        let is_late = written.run.is_some_and(|run| seen.is_long_over(run, now));
        seen.tally.arrived_late |= is_late && !seen.is_coordinated;
        let Some(planned) = self.plan.migrations.iter().find(|planned| planned.marker() == key) else {
            let (plan, versions, tally) = (&self.plan, &self.versions, &mut seen.tally);
            let verdict = invariants::an_entry_is_deleted_only_if_it_is_elsewhere(
                plan, versions, written, truth, tally,
            );
            return self.keep(&mut seen, verdict);
        };
        if !seen.is_coordinated {
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
            let is_done = if seen.is_exact(&self.plan) {
                invariants::marked_is_done(&self.plan, planned, truth)
            } else {
                Ok(())
            };
            let verdict = of_run.and(is_done);
            self.keep(seen, verdict);
        }
        let marked = &mut seen.migrations[planned.number];
        if marked.is_marked && !is_marked {
            marked.unmarked_at = Some(self.time.now());
            marked.is_finished = false;
        }
        if is_marked && !marked.is_marked {
            marked.marked_at = self.time.now();
        }
        if marked.is_marked != is_marked {
            marked.is_half_undone = false;
        }
        marked.is_marked = is_marked;
    }
}
