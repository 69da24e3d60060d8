//! What runs do.

use kv_migrations::Event;
use kv_migrations::clock::Clock;
use kv_migrations::kv::Request;

use super::Monitor;
use crate::fault::Suspension;
use crate::invariants;
use crate::observations::{IsolateRecord, Observations, RunRecord};

/// How many of the last runs may still be in progress.
const RECENT: usize = 8;

impl Monitor {
    /// The number of a new isolate.
    pub fn new_isolate(&self) -> usize {
        let mut observations = self.locked();
        observations.isolates.push(IsolateRecord::default());
        observations.isolates.len() - 1
    }

    /// A run or a rollback begins; with a coordinator, a step of one. Returns its number.
    pub fn run_begins(&self, isolate: usize) -> usize {
        let (mut observations, now) = (self.locked(), self.time.now());
        observations.runs.push(RunRecord {
            isolate,
            began: now,
            ended: None,
            suspended: None,
            inside: None,
            rolls_back: None,
            entered: now,
            left: None,
            was_marked: false,
            storage_failed: false,
            finished: Vec::new(),
        });
        let run = observations.runs.len() - 1;
        if observations.is_coordinated {
            observations.isolates[isolate].last = Some((run, now));
        }
        run
    }

    /// A run is suspended or resumed.
    pub fn run_suspension(&self, run: usize, suspension: Suspension) {
        self.trace.add(|| format!("the suspension of run {run}: {suspension:?}"));
        let now = self.time.now();
        self.locked().runs[run].suspended = (suspension == Suspension::Begins).then_some(now);
    }

    /// A run has ended, or is dropped.
    pub fn run_ended(&self, run: usize) {
        let run = &mut self.locked().runs[run];
        let now = self.time.now();
        run.leave(now);
        run.ended = Some(now);
    }

    /// A run sends an operation.
    pub fn operation(&self, run: usize, request: Request<'_>) {
        let (mut observations, now) = (self.locked(), self.time.now());
        if observations.is_coordinated {
            // Any step may read.
            if matches!(request, Request::Put { .. } | Request::Delete { .. }) {
                let check = invariants::one_step_at_a_time(&observations, run);
                observations.tally.ups_overlapped |= check.is_err();
                self.report(&mut observations, check);
            }
            return;
        }
        let check = invariants::one_run_at_a_time_in_an_isolate(&observations, run, now);
        self.report(&mut observations, check);
        let Observations { runs, isolates, tally, .. } = &mut *observations;
        let this = &runs[run];
        isolates[this.isolate].last = Some((run, now));
        let is_at_work =
            |other: &RunRecord| other.ended.is_none() && other.suspended.is_none() && other.inside.is_some();
        let recent = runs.iter().enumerate().rev().take(RECENT);
        let mut others = recent.filter(|(number, other)| *number != run && is_at_work(other));
        tally.ups_overlapped |= this.inside.is_some() && others.next().is_some();
        if this.inside.is_some_and(|number| self.plan.is_rekey(number)) {
            // Also the runs that have begun since this one was suspended.
            let mut others = runs.iter().enumerate().skip(run.saturating_sub(RECENT));
            tally.rekeys_overlapped |= others.any(|(number, other)| number != run && this.has_met(other));
        }
    }

    /// A run without a coordinator reports an event.
    pub fn event(&self, run: usize, event: &Event) {
        let id = match event {
            Event::Started { id, .. } | Event::Paused { id, .. } | Event::Failed { id, .. } => id.as_str(),
            Event::Applied(applied) => applied.id.as_str(),
            _ => return,
        };
        let Some(number) = self.plan.number(id) else { return };
        if matches!(event, Event::Started { .. }) {
            return self.migration_begins(run, number);
        }
        self.trace.add(|| format!("run {run}: {event:?}"));
        let mut observations = self.locked();
        let is_applied = matches!(event, Event::Applied(_));
        observations.tally.marked_up_repeated |= is_applied && observations.runs[run].was_marked;
        observations.runs[run].leave(self.time.now());
    }

    /// The `up` of a migration runs. It calls this at its start, or for every entry.
    pub fn up_is_running(&self, run: usize, number: usize) {
        let is_known = {
            let observations = self.locked();
            !observations.is_coordinated || observations.runs[run].inside == Some(number)
        };
        if !is_known {
            self.migration_begins(run, number);
        }
    }

    /// A migration begins or continues.
    pub(super) fn migration_begins(&self, run: usize, number: usize) {
        self.trace.add(|| format!("run {run} begins {}", self.plan.migrations[number].id));
        let mut observations = self.locked();
        let check = invariants::applied_migrations_do_not_run_again(&observations, &self.plan, run, number)
            .and_then(|()| invariants::migrations_begin_in_order(&mut observations, &self.plan, run, number));
        self.report(&mut observations, check);
        let mut before = observations.migrations.iter().take(number);
        let is_half_rolled_back = before.any(|record| record.is_half_rolled_back);
        observations.was_half_rolled_back |= is_half_rolled_back;
        let Observations { runs, migrations, tally, .. } = &mut *observations;
        let migration = &mut migrations[number];
        migration.has_begun = true;
        tally.unmarked_up_repeated |= migration.is_finished && !migration.is_marked;
        let this = &mut runs[run];
        this.leave(self.time.now());
        (this.inside, this.entered, this.was_marked) = (Some(number), self.time.now(), migration.is_marked);
    }

    /// The `up` of a migration is about to return `Ok`.
    pub fn up_finished(&self, run: usize, number: usize) {
        let mut observations = self.locked();
        observations.runs[run].finished.push(number);
        observations.migrations[number].is_finished = true;
    }

    /// A run is asked to roll a migration back.
    pub fn rolls_back(&self, run: usize, id: &str) {
        self.trace.add(|| format!("run {run} rolls {id} back"));
        self.locked().runs[run].rolls_back = self.plan.number(id);
    }

    /// A `down` in one piece is about to change something.
    pub fn down_is_running(&self, number: usize) {
        let mut observations = self.locked();
        observations.migrations[number].is_half_rolled_back = true;
        observations.tally.rolled_back = true;
    }
}
