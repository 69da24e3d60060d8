//! Who runs what, beside whom, and after what.

use kv_migrations::kv::MemoryStore;

use super::{Verdict, violated};
use crate::plan::{Change, Plan, Planned};
use crate::seen::Seen;

/// KV's delay, and a lease: 60 seconds.
const MINUTE: i64 = 60_000;

/// A run sends nothing beside another one in its isolate, unless that was silent for a minute; and nothing at all once
/// another has taken its place.
pub fn one_run_at_a_time_in_an_isolate(seen: &Seen, run: usize, now: i64) -> Verdict {
    const NAME: &str = "one_run_at_a_time_in_an_isolate";
    let isolate = &seen.isolates[seen.runs[run].isolate];
    match isolate.holder {
        Some(holder) if holder > run => {
            violated(NAME, format!("run {run} goes on, although run {holder} has taken its place"))
        }
        Some(holder) if holder < run && !seen.runs[holder].is_over => {
            let silent = now - isolate.last_operation;
            if silent >= MINUTE {
                return Ok(());
            }
            violated(
                NAME,
                format!("run {run} begins beside run {holder}, which was silent for {silent} ms only"),
            )
        }
        _ => Ok(()),
    }
}

/// What a step sends or writes after the next one has begun is refused: of a coordinator's instances, one at most has
/// the right to run.
pub fn one_step_at_a_time(seen: &Seen, step: usize) -> Verdict {
    match seen.isolates[seen.runs[step].isolate].holder {
        Some(holder) if holder > step => {
            let text = format!("step {step} goes on, although step {holder} has taken its place");
            violated("one_step_at_a_time", text)
        }
        _ => Ok(()),
    }
}

/// An `up` that is applied does not run again. With a coordinator, never; without, if it was marked a minute before the
/// run began, when KV shows the marker everywhere.
pub fn what_is_applied_does_not_run_again(seen: &Seen, plan: &Plan, run: usize, number: usize) -> Verdict {
    let marked = &seen.migrations[number];
    let is_seen = seen.is_coordinated || marked.marked_at <= seen.runs[run].began - MINUTE;
    if !marked.is_marked || !is_seen {
        return Ok(());
    }
    let text = format!("run {run} runs {}, which is applied", plan.migrations[number].id);
    violated("what_is_applied_does_not_run_again", text)
}

/// A step of a coordinator records as applied only what it said that it began, unless the storage failed then.
pub fn what_is_applied_was_begun(seen: &Seen, planned: &Planned, step: Option<usize>) -> Verdict {
    let was_begun = |step: usize| seen.runs[step].inside == Some(planned.number);
    if step.is_some_and(|step| was_begun(step) || seen.runs[step].had_broken_rows) {
        return Ok(());
    }
    let text = format!("step {step:?} recorded {}, and never began it", planned.id);
    violated("what_is_applied_was_begun", text)
}

/// A migration begins only if all before it are marked as applied. Without a coordinator, if they were when its run read
/// the ledger, as far as KV could show that then.
pub fn in_the_order_of_registration(seen: &mut Seen, plan: &Plan, run: usize, number: usize) -> Verdict {
    for (before, marked) in seen.migrations.iter().enumerate().take(number) {
        let is_recent = |at| !seen.is_coordinated && at >= seen.runs[run].began - MINUTE;
        if marked.is_marked {
            continue;
        }
        seen.was_out_of_order = true;
        if !marked.unmarked_at.is_some_and(is_recent) {
            let (id, before) = (&plan.migrations[number].id, &plan.migrations[before].id);
            return violated(
                "in_the_order_of_registration",
                format!("run {run} begins {id}, although {before} is not applied"),
            );
        }
    }
    Ok(())
}

/// A run marks only what it has finished itself.
pub fn marked_by_whom_it_was_finished(seen: &Seen, planned: &Planned, run: Option<usize>) -> Verdict {
    let has_finished = run.is_some_and(|run| seen.runs[run].finished.contains(&planned.number));
    if has_finished || !matches!(planned.change, Change::Steps(_)) {
        return Ok(());
    }
    let text =
        format!("{} is marked as applied by run {run:?}, in which its `up` did not finish", planned.id);
    violated("marked_by_whom_it_was_finished", text)
}

/// When an object is idle, KV says of every marker what the object says.
pub fn the_markers_in_kv_are_those_of_the_object(seen: &Seen, plan: &Plan, truth: &MemoryStore) -> Verdict {
    for (planned, marked) in plan.migrations.iter().zip(&seen.migrations) {
        let is_applied = truth.value(&planned.marker()).as_deref() == Some(b"true");
        if is_applied != marked.is_marked {
            let not = if is_applied { "" } else { "not " };
            return violated(
                "the_markers_in_kv_are_those_of_the_object",
                format!("in KV {} is {not}applied", planned.id),
            );
        }
    }
    Ok(())
}
