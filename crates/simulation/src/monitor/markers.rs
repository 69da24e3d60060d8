//! What is written: to KV, and to the storage of an object.

use kv_migrations::clock::Clock;
use kv_migrations::coordinator::JournalEvent;
use kv_migrations::kv::MemoryStore;

use super::Monitor;
use crate::invariants;
use crate::observations::{AppliedRecord, CompletedWrite, Observations};
use crate::plan::{PlannedMigration, Seal};
use crate::value::shown;

impl Monitor {
    /// An object has written something down, in this step if one was taken.
    pub fn journal_event(&self, step: Option<usize>, event: &JournalEvent, truth: &MemoryStore) {
        match event {
            JournalEvent::Started { id, .. } => {
                if let (Some(step), Some(number)) = (step, self.plan.number(id)) {
                    self.migration_begins(step, number);
                }
            }
            JournalEvent::MarkerWritten { key, is_applied, task, .. } => {
                let planned = self.plan.migrations.iter().find(|planned| planned.marker() == *key);
                if let Some(planned) = planned {
                    self.marker_written(step, planned, *task, *is_applied, truth);
                }
            }
            _ => {}
        }
    }

    /// The storage of an object has failed.
    pub fn storage_failed(&self, step: Option<usize>) {
        self.trace.add(|| "    the object's storage fails".to_owned());
        let (mut observations, now) = (self.locked(), self.time.now());
        if let Some(step) = step {
            observations.runs[step].storage_failed = true;
        }
        if let Some(applied) = observations.applied.last_mut() {
            applied.may_be_unrecorded |= applied.at == now;
        }
    }

    /// A row of an object's storage is damaged. What cannot be read stays what it was until it is replaced, which the object
    /// tells. Of a marker that is removed, nobody tells.
    pub fn row_damaged(&self, name: &str, is_removed: bool) {
        let mut observations = self.locked();
        observations.was_damaged = true;
        observations.tally.rows_damaged += 1;
        let marked =
            self.plan.migrations.iter().find(|planned| name == format!("marker/{}", planned.marker()));
        if let Some(planned) = marked.filter(|_| is_removed) {
            let record = &mut observations.migrations[planned.number];
            (record.is_marked, record.unmarked_at) = (false, Some(self.time.now()));
        }
    }

    fn marker_written(
        &self,
        step: Option<usize>,
        planned: &PlannedMigration,
        task: Option<u64>,
        is_applied: bool,
        truth: &MemoryStore,
    ) {
        let (id, not) = (&planned.id, if is_applied { "" } else { "not " });
        self.trace.add(|| format!("    object: {id} is {not}applied"));
        let mut observations = self.locked();
        observations.migrations[planned.number].has_begun = true;
        // A rollback that failed writes its error into a marker that stays applied.
        let is_new = is_applied && !observations.migrations[planned.number].is_marked;
        if let (true, Some(run)) = (is_new, task) {
            let begun = invariants::applied_migrations_have_begun(&observations, planned, step);
            self.report(&mut observations, begun);
            let (migration, at) = (planned.number, self.time.now());
            observations.applied.push(AppliedRecord { run, migration, at, may_be_unrecorded: false });
        }
        if let Some(step) = step {
            let check = invariants::one_step_at_a_time(&observations, step);
            self.report(&mut observations, check);
        }
        self.marked(&mut observations, planned, step, is_applied, truth);
    }

    /// A write to KV took effect.
    pub fn kv_written(&self, write: &CompletedWrite<'_>, truth: &MemoryStore) {
        self.trace.add(|| {
            format!("    KV: {} is {}", write.key, write.value.map_or_else(|| "deleted".to_owned(), shown))
        });
        let (mut observations, now) = (self.locked(), self.time.now());
        if let (true, Some(run)) = (observations.is_coordinated, write.run) {
            let check = invariants::one_step_at_a_time(&observations, run);
            self.report(&mut observations, check);
        }
        let is_late = write.run.is_some_and(|run| observations.is_long_over(run, now));
        observations.tally.write_arrived_late |= is_late && !observations.is_coordinated;
        let Some(planned) = self.plan.migrations.iter().find(|planned| planned.marker() == write.key) else {
            if self.plan.is_old_key_alone(write.key) {
                match write.value {
                    None => drop(observations.deleted.insert(write.key.to_owned())),
                    Some(_) => observations.has_returned |= observations.deleted.contains(write.key),
                }
            }
            let began = write.run.map(|run| observations.runs[run].began);
            let meets_opposite = write.run.is_some_and(|run| observations.meets_opposite(run));
            let (plan, versions, tally) = (&self.plan, &self.versions, &mut observations.tally);
            let check = invariants::only_copied_entries_are_deleted(
                plan,
                versions,
                write,
                began,
                meets_opposite,
                truth,
                tally,
            );
            return self.report(&mut observations, check);
        };
        if !observations.is_coordinated {
            self.marked(&mut observations, planned, write.run, write.value == Some(b"true"), truth);
        }
    }

    /// KV has shown a run what is at a key.
    pub fn kv_read(&self, key: &str, shown: Option<&[u8]>, truth: &MemoryStore) {
        let mut re_keys = self.plan.migrations.iter().filter(|planned| planned.seal == Seal::Random);
        if re_keys.any(|planned| planned.marker() == key) {
            let mut observations = self.locked();
            let is_old = !observations.is_coordinated && truth.value(key).as_deref() != shown;
            observations.has_read_old_checkpoint |= is_old;
        }
    }

    /// A migration is marked as applied, or its mark is removed.
    fn marked(
        &self,
        observations: &mut Observations,
        planned: &PlannedMigration,
        run: Option<usize>,
        is_marked: bool,
        truth: &MemoryStore,
    ) {
        let before = &observations.migrations[planned.number];
        if is_marked && !before.is_marked && before.marked_by_hand == 0 {
            let finished = invariants::runs_mark_only_what_they_finished(observations, planned, run);
            let done = if observations.is_exact(&self.plan) {
                invariants::marked_migrations_are_done(&self.plan, planned, truth)
            } else {
                Ok(())
            };
            self.report(observations, finished.and(done));
        }
        let record = &mut observations.migrations[planned.number];
        if record.is_marked == is_marked {
            return;
        }
        let now = Some(self.time.now());
        if is_marked {
            record.marked_at = now;
        } else {
            (record.unmarked_at, record.is_finished) = (now, false);
        }
        record.is_half_rolled_back = false;
        record.is_marked = is_marked;
    }
}
