//! Which run may do what, and when.

use std::time::{Duration, SystemTime};

use kv_migrations::kv::MemoryStore;

use crate::observations::{Observations, RunRecord};
use crate::plan::{MigrationKind, Plan, PlannedMigration};
use crate::violation::{Check, violated};

/// KV's delay, and a lease.
const MINUTE: Duration = Duration::from_mins(1);

/// A run sends nothing beside another one in its isolate, unless that one has sent nothing for a minute; and nothing at
/// all once another run has replaced it.
pub fn one_run_at_a_time_in_an_isolate(observations: &Observations, run: usize, now: SystemTime) -> Check {
    const NAME: &str = "one_run_at_a_time_in_an_isolate";
    let Some((last, at)) = observations.isolates[observations.runs[run].isolate].last else { return Ok(()) };
    if last > run {
        return violated(NAME, format!("run {run} continues, although run {last} has replaced it"));
    }
    let inactive = now.duration_since(at).unwrap_or_default();
    if last == run || observations.runs[last].ended.is_some() || inactive >= MINUTE {
        return Ok(());
    }
    violated(NAME, format!("run {run} begins beside run {last}, which was inactive for {inactive:?} only"))
}

/// What a step sends or writes after the next one has begun is refused: at most one instance of a coordinator may run.
/// Nothing is said of it once a row was damaged, since that can be the lease.
pub fn one_step_at_a_time(observations: &Observations, step: usize) -> Check {
    if observations.was_damaged {
        return Ok(());
    }
    match observations.isolates[observations.runs[step].isolate].last {
        Some((last, _)) if last > step => {
            let text = format!("step {step} continues, although step {last} has replaced it");
            violated("one_step_at_a_time", text)
        }
        _ => Ok(()),
    }
}

/// An `up` that is applied does not run again: with a coordinator, never; without one, if it was marked a minute before
/// the run began, when KV shows the marker everywhere.
pub fn applied_migrations_do_not_run_again(
    observations: &Observations,
    plan: &Plan,
    run: usize,
    number: usize,
) -> Check {
    let (record, began) = (&observations.migrations[number], observations.runs[run].began);
    let is_visible = record.marked_at.is_some_and(|marked_at| marked_at + MINUTE <= began);
    if !record.is_marked || observations.was_damaged || !observations.is_coordinated && !is_visible {
        return Ok(());
    }
    let text = format!("run {run} runs {}, which is applied", plan.migrations[number].id);
    violated("applied_migrations_do_not_run_again", text)
}

/// A step of a coordinator records as applied only a migration that it recorded as begun, unless the storage failed.
pub fn applied_migrations_have_begun(
    observations: &Observations,
    planned: &PlannedMigration,
    step: Option<usize>,
) -> Check {
    let record = step.map(|step| &observations.runs[step]);
    let has_begun = |step: &RunRecord| step.inside == Some(planned.number) || step.storage_failed;
    if observations.was_damaged || record.is_some_and(has_begun) {
        return Ok(());
    }
    let text = format!("step {step:?} recorded {} as applied, and never as begun", planned.id);
    violated("applied_migrations_have_begun", text)
}

/// A migration begins only if all before it are marked as applied. Without a coordinator: if they were a minute before
/// the run began, for KV may still show them as applied.
pub fn migrations_begin_in_order(
    observations: &mut Observations,
    plan: &Plan,
    run: usize,
    number: usize,
) -> Check {
    let (began, is_coordinated) = (observations.runs[run].began, observations.is_coordinated);
    for (before, record) in observations.migrations.iter().enumerate().take(number) {
        if record.is_marked || observations.was_damaged {
            continue;
        }
        observations.was_out_of_order = true;
        let is_recent = |unmarked_at| !is_coordinated && unmarked_at + MINUTE >= began;
        if !record.unmarked_at.is_some_and(is_recent) {
            let (id, before) = (&plan.migrations[number].id, &plan.migrations[before].id);
            let text = format!("run {run} begins {id}, although {before} is not applied");
            return violated("migrations_begin_in_order", text);
        }
    }
    Ok(())
}

/// A run marks only what it has finished itself.
pub fn runs_mark_only_what_they_finished(
    observations: &Observations,
    planned: &PlannedMigration,
    run: Option<usize>,
) -> Check {
    let has_finished = run.is_some_and(|run| observations.runs[run].finished.contains(&planned.number));
    // What the object does not know any more, it takes over from KV.
    if has_finished || observations.was_damaged || !matches!(planned.kind, MigrationKind::Steps(_)) {
        return Ok(());
    }
    let text = format!("run {run:?} marks {} as applied, whose `up` did not finish in it", planned.id);
    violated("runs_mark_only_what_they_finished", text)
}

/// When an object is idle, KV has its markers.
pub fn kv_has_the_markers_of_the_object(
    observations: &Observations,
    plan: &Plan,
    truth: &MemoryStore,
) -> Check {
    for (planned, record) in plan.migrations.iter().zip(&observations.migrations) {
        let is_applied = truth.value(&planned.marker()).as_deref() == Some(b"true");
        if is_applied != record.is_marked {
            let text = format!("{} is {}applied in KV", planned.id, if is_applied { "" } else { "not " });
            return violated("kv_has_the_markers_of_the_object", text);
        }
    }
    Ok(())
}
