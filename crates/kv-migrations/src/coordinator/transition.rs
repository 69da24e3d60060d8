//! How a task goes on after each thing that happens to it: pure.

use std::time::{Duration, SystemTime};

use super::error::CoordinatorError;
use super::report::RunOutcome;
use super::task::{Retries, StopRequest, Task, TaskStage};
use crate::clock::{later, milliseconds};

/// The pause before each retry of a step that failed. After the last one, the run has failed.
const RETRY_PAUSES: [Duration; 4] =
    [Duration::from_secs(5), Duration::from_secs(30), Duration::from_mins(2), Duration::from_mins(10)];
/// How many times in a row a step may be begun. A crash, an eviction or a deploy cuts a step off once or twice; a step
/// that was cut off this often seems to end its instance itself.
pub(super) const MAX_TRIES: u32 = 5;

/// What happens to a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TaskEvent {
    /// A step begins.
    StepBegan,
    /// The step has ended.
    StepEnded(StepOutcome),
    /// No step is under way, so that a stop request can be met.
    Idle,
    /// A caller resumes it.
    Resumed,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StepOutcome {
    /// Nothing is left to do.
    Finished,
    /// More is to be done after this time, at this migration.
    Unfinished { after: Duration, migration: Option<String> },
    /// KV's daily quota is used up. It begins again after this time.
    OverQuota { after: Duration, migration: Option<String> },
    /// The task cannot be done, or not any more. A retry would change nothing.
    Refused { error: String },
    /// Another release has to take the rest of the steps.
    Elsewhere { error: String, migration: Option<String> },
    /// It failed at this migration, of which this many entries were done.
    Failed { error: String, migration: Option<String>, done: u64 },
}

/// A task as it is after an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Transition {
    pub(super) task: Task,
    /// [`Running`](RunOutcome::Running) if it goes on when its stage says so, [`Paused`](RunOutcome::Paused) if it
    /// waits to be resumed. With any other outcome it is over.
    pub(super) outcome: RunOutcome,
}

impl Transition {
    /// Whether a stop request was met.
    pub(super) fn is_stop(&self) -> bool {
        matches!(self.outcome, RunOutcome::Paused | RunOutcome::Cancelled)
    }
}

/// How the task goes on.
pub(super) fn next(mut task: Task, event: TaskEvent, now: SystemTime) -> Transition {
    let outcome = match event {
        TaskEvent::StepBegan => begin_step(&mut task, now),
        TaskEvent::StepEnded(outcome) => end_step(&mut task, outcome, now),
        TaskEvent::Idle => meet_stop_request(&mut task),
        TaskEvent::Resumed => resume(&mut task, now),
    };
    Transition { task, outcome }
}

/// A pause that was not met yet is withdrawn. It has changed nothing: a step that is cut off again and again ends the run.
fn resume(task: &mut Task, now: SystemTime) -> RunOutcome {
    task.stop = None;
    if task.is_paused() {
        task.retries.count = 0;
        task.stage = TaskStage::Due { at: milliseconds(now) };
    }
    RunOutcome::Running
}

fn begin_step(task: &mut Task, now: SystemTime) -> RunOutcome {
    task.stage = match task.stage {
        TaskStage::Due { at } | TaskStage::AwaitingQuota { at } => {
            TaskStage::Stepping { due: at, tries: 1, is_retry: false }
        }
        TaskStage::Retrying { at } => TaskStage::Stepping { due: at, tries: 1, is_retry: true },
        TaskStage::Stepping { due, tries, is_retry } if tries < MAX_TRIES && !task.work.is_one_step() => {
            TaskStage::Stepping { due, tries: tries + 1, is_retry }
        }
        TaskStage::Stepping { .. } => {
            let error = cut_off(task);
            task.add_failure(error.to_string(), now);
            return RunOutcome::Failed;
        }
        TaskStage::Paused => TaskStage::Paused,
    };
    task.outcome()
}

/// Why a task fails whose steps were cut off.
pub(super) fn cut_off(task: &Task) -> CoordinatorError {
    CoordinatorError::CutOff { id: task.migration().map(str::to_owned), is_one_step: task.work.is_one_step() }
}

/// The first step has a caller who waits for it and gets its failure. Nobody waits for the other steps, so they are
/// retried; so is a first step that was cut off before, and its caller with it.
fn end_step(task: &mut Task, outcome: StepOutcome, now: SystemTime) -> RunOutcome {
    let is_first = task.totals.steps == 0 && matches!(task.stage, TaskStage::Stepping { tries: 1, .. });
    task.totals.steps = task.totals.steps.saturating_add(1);
    match outcome {
        StepOutcome::Finished => return RunOutcome::Finished,
        StepOutcome::Refused { error } => {
            if !is_first {
                task.add_failure(error, now);
            }
            return RunOutcome::Failed;
        }
        StepOutcome::Unfinished { after, migration } => {
            task.move_to(migration);
            task.stage = TaskStage::Due { at: milliseconds(later(now, after)) };
        }
        StepOutcome::OverQuota { after, migration } => {
            task.move_to(migration);
            task.stage = TaskStage::AwaitingQuota { at: milliseconds(later(now, after)) };
        }
        // Its caller asked the release before, and cannot be told.
        StepOutcome::Elsewhere { error, migration } => {
            task.move_to(migration);
            let outcome = fail_step(task, error, true, now);
            return if outcome == RunOutcome::Failed { RunOutcome::Unfinished } else { outcome };
        }
        StepOutcome::Failed { error, migration, done } => {
            task.move_to(migration);
            if done > task.retries.done {
                task.retries = Retries { count: 0, done };
            }
            return fail_step(task, error, !is_first, now);
        }
    }
    meet_stop_request(task)
}

/// Retries a step that failed, if it may be retried and was not too often.
fn fail_step(task: &mut Task, error: String, is_retried: bool, now: SystemTime) -> RunOutcome {
    task.add_failure(error, now);
    let pause = RETRY_PAUSES.get(usize::try_from(task.retries.count).unwrap_or(usize::MAX));
    let Some(pause) = pause.filter(|_| is_retried) else {
        let outcome = meet_stop_request(task);
        return if outcome == RunOutcome::Running { RunOutcome::Failed } else { outcome };
    };
    task.retries.count += 1;
    task.stage = TaskStage::Retrying { at: milliseconds(now + *pause) };
    meet_stop_request(task)
}

fn meet_stop_request(task: &mut Task) -> RunOutcome {
    match task.stop.take() {
        Some(StopRequest::Pause { at }) if task.migration() == Some(at.as_str()) => {
            task.stage = TaskStage::Paused;
        }
        Some(StopRequest::Cancel { at }) => {
            task.set_migration(Some(at));
            return RunOutcome::Cancelled;
        }
        Some(StopRequest::Pause { .. }) | None => {}
    }
    task.outcome()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::at_milliseconds;
    use crate::coordinator::caller::Caller;
    use crate::coordinator::task::Work;
    use crate::runner::Until;

    const NOW: u64 = 1_000_000;
    const BEFORE: u64 = 900_000;

    const DUE: TaskStage = TaskStage::Due { at: BEFORE };
    const RETRYING: TaskStage = TaskStage::Retrying { at: BEFORE };
    const PAUSED: TaskStage = TaskStage::Paused;
    const AWAITING: TaskStage = TaskStage::AwaitingQuota { at: BEFORE };

    const fn stepping(tries: u32) -> TaskStage {
        TaskStage::Stepping { due: BEFORE, tries, is_retry: false }
    }

    const fn stepping_again(tries: u32) -> TaskStage {
        TaskStage::Stepping { due: BEFORE, tries, is_retry: true }
    }

    /// A run at migration 002.
    fn run(stage: TaskStage, steps: u64) -> Task {
        let mut task = Task::new(1, Work::migrate(Until::End), &Caller::default(), at_milliseconds(BEFORE));
        task.move_to(Some("002".to_owned()));
        task.stage = stage;
        task.totals.steps = steps;
        task
    }

    fn pause(id: &str) -> StopRequest {
        StopRequest::Pause { at: id.to_owned() }
    }

    fn cancel(id: &str) -> StopRequest {
        StopRequest::Cancel { at: id.to_owned() }
    }

    fn unfinished() -> TaskEvent {
        let (after, migration) = (Duration::from_secs(1), Some("002".to_owned()));
        TaskEvent::StepEnded(StepOutcome::Unfinished { after, migration })
    }

    fn over_quota() -> TaskEvent {
        let (after, migration) = (Duration::from_hours(5), Some("002".to_owned()));
        TaskEvent::StepEnded(StepOutcome::OverQuota { after, migration })
    }

    fn failed(done: u64) -> TaskEvent {
        let (error, migration) = ("boom".to_owned(), Some("002".to_owned()));
        TaskEvent::StepEnded(StepOutcome::Failed { error, migration, done })
    }

    fn elsewhere() -> TaskEvent {
        let (error, migration) = ("it is not registered".to_owned(), Some("002".to_owned()));
        TaskEvent::StepEnded(StepOutcome::Elsewhere { error, migration })
    }

    fn refused() -> TaskEvent {
        TaskEvent::StepEnded(StepOutcome::Refused { error: "it is not registered".to_owned() })
    }

    fn after(event: TaskEvent, task: Task) -> Transition {
        next(task, event, at_milliseconds(NOW))
    }

    #[test]
    fn every_row_of_the_table() {
        use RunOutcome::{Cancelled, Failed, Finished, Paused, Running};
        use TaskEvent::{Idle, Resumed, StepBegan, StepEnded};

        let due_in = |seconds: u64| TaskStage::Due { at: NOW + 1_000 * seconds };
        let retried_in = |seconds: u64| TaskStage::Retrying { at: NOW + 1_000 * seconds };
        let awaiting_in = |hours: u64| TaskStage::AwaitingQuota { at: NOW + 3_600_000 * hours };
        let finished = || StepEnded(StepOutcome::Finished);
        #[rustfmt::skip]
        let rows = [
            // before            steps  stop               event          after               outcome     failures
            (DUE,                0,  None,                 StepBegan,     stepping(1),        Running,    0),
            (DUE,                7,  None,                 StepBegan,     stepping(1),        Running,    0),
            (RETRYING,           7,  None,                 StepBegan,     stepping_again(1),  Running,    0),
            (stepping(1),        0,  None,                 StepBegan,     stepping(2),        Running,    0),
            (stepping_again(4),  7,  None,                 StepBegan,     stepping_again(5),  Running,    0),
            (stepping(5),        0,  None,                 StepBegan,     stepping(5),        Failed,     1),
            (AWAITING,           7,  None,                 StepBegan,     stepping(1),        Running,    0),
            (PAUSED,             7,  None,                 StepBegan,     PAUSED,             Paused,     0),

            (stepping(1),        0,  None,                 finished(),    stepping(1),        Finished,   0),
            (stepping(1),        7,  Some(cancel("002")),  finished(),    stepping(1),        Finished,   0),
            (stepping(1),        0,  None,                 refused(),     stepping(1),        Failed,     0),
            (stepping(2),        0,  None,                 refused(),     stepping(2),        Failed,     1),
            (stepping(1),        7,  None,                 refused(),     stepping(1),        Failed,     1),

            (stepping(1),        0,  None,                 unfinished(),  due_in(1),          Running,    0),
            (stepping_again(1),  7,  None,                 unfinished(),  due_in(1),          Running,    0),
            (stepping(1),        7,  Some(pause("002")),   unfinished(),  PAUSED,             Paused,     0),
            (stepping(1),        7,  Some(pause("001")),   unfinished(),  due_in(1),          Running,    0),
            (stepping(1),        7,  Some(cancel("001")),  unfinished(),  due_in(1),          Cancelled,  0),

            (stepping(1),        0,  None,                 over_quota(),  awaiting_in(5),     Running,    0),
            (stepping_again(1),  7,  None,                 over_quota(),  awaiting_in(5),     Running,    0),
            (stepping(1),        7,  Some(pause("002")),   over_quota(),  PAUSED,             Paused,     0),
            (stepping(1),        7,  Some(cancel("002")),  over_quota(),  awaiting_in(5),     Cancelled,  0),

            (stepping(1),        0,  None,                 failed(0),     stepping(1),        Failed,     1),
            (stepping(1),        0,  Some(pause("002")),   failed(0),     PAUSED,             Paused,     1),
            (stepping(2),        0,  None,                 failed(0),     retried_in(5),      Running,    1),
            (DUE,                0,  None,                 failed(0),     retried_in(5),      Running,    1),
            (stepping(1),        7,  None,                 failed(0),     retried_in(5),      Running,    1),
            (stepping(1),        7,  Some(pause("002")),   failed(0),     PAUSED,             Paused,     1),
            (stepping(1),        7,  Some(pause("001")),   failed(0),     retried_in(5),      Running,    1),
            (stepping(1),        7,  Some(cancel("002")),  failed(0),     retried_in(5),      Cancelled,  1),

            (stepping(1),        0,  None,                 elsewhere(),   retried_in(5),      Running,    1),
            (stepping(1),        7,  Some(cancel("002")),  elsewhere(),   retried_in(5),      Cancelled,  1),

            (DUE,                7,  None,                 Idle,          DUE,                Running,    0),
            (DUE,                7,  Some(pause("002")),   Idle,          PAUSED,             Paused,     0),
            (DUE,                7,  Some(pause("001")),   Idle,          DUE,                Running,    0),
            (RETRYING,           7,  Some(pause("002")),   Idle,          PAUSED,             Paused,     0),
            (AWAITING,           7,  Some(pause("002")),   Idle,          PAUSED,             Paused,     0),
            (stepping(3),        7,  Some(pause("002")),   Idle,          PAUSED,             Paused,     0),
            (stepping(3),        7,  Some(cancel("002")),  Idle,          stepping(3),        Cancelled,  0),
            (PAUSED,             7,  Some(cancel("002")),  Idle,          PAUSED,             Cancelled,  0),
            (PAUSED,             7,  None,                 Idle,          PAUSED,             Paused,     0),

            (PAUSED,             7,  None,                 Resumed,       due_in(0),          Running,    0),
            (stepping(4),        0,  Some(pause("002")),   Resumed,       stepping(4),        Running,    0),
            (stepping_again(2),  7,  Some(pause("002")),   Resumed,       stepping_again(2),  Running,    0),
            (DUE,                7,  Some(pause("002")),   Resumed,       DUE,                Running,    0),
            (RETRYING,           7,  Some(pause("002")),   Resumed,       RETRYING,           Running,    0),
        ];
        for (stage, steps, stop, event, expected_stage, expected_outcome, failures) in rows {
            let situation = format!("{stage:?} after {steps} steps, {stop:?}: {event:?}");
            let is_over = matches!(expected_outcome, Finished | Failed);
            let Transition { task, outcome } = after(event, Task { stop, ..run(stage, steps) });
            assert_eq!((task.stage, outcome), (expected_stage, expected_outcome), "{situation}");
            assert_eq!(task.totals.failed_attempts, failures, "{situation}");
            assert_eq!(task.failures.len() as u64, failures, "{situation}");
            assert!(is_over || task.stop.is_none(), "no request is met twice: {situation}");
        }
    }

    /// The pauses, in seconds, while a run fails like this again and again.
    fn pauses(done: impl Fn(u64) -> u64) -> Vec<u64> {
        let mut task = run(DUE, 7);
        let mut pauses = Vec::new();
        for number in 0..20 {
            let begun = after(TaskEvent::StepBegan, task).task;
            let Transition { task: failed, outcome } = after(failed(done(number)), begun);
            match (failed.stage, outcome) {
                (TaskStage::Retrying { at }, RunOutcome::Running) => pauses.push((at - NOW) / 1_000),
                (_, outcome) => {
                    assert_eq!(outcome, RunOutcome::Failed);
                    break;
                }
            }
            task = failed;
        }
        pauses
    }

    #[test]
    fn retries_are_counted_from_zero_only_when_the_migration_gets_further() {
        assert_eq!(pauses(|_| 50), [5, 30, 120, 600]);
        assert_eq!(pauses(|number| if number < 2 { 50 } else { 60 }), [5, 30, 5, 30, 120, 600]);
        assert_eq!(pauses(|number| number % 2), [5, 5, 30, 120, 600]);
    }

    #[test]
    fn steps_that_succeed_at_the_same_migration_do_not_reset_the_retries() {
        let task = after(failed(9), run(stepping(1), 7)).task;
        let task = after(unfinished(), task).task;
        assert_eq!(task.retries, Retries { count: 1, done: 9 });
        let (after_, migration) = (Duration::ZERO, Some("003".to_owned()));
        let at_another = StepOutcome::Unfinished { after: after_, migration };
        assert_eq!(after(TaskEvent::StepEnded(at_another), task).task.retries, Retries::default());
    }

    #[test]
    fn a_cancelled_run_is_at_the_migration_that_it_was_cancelled_at() {
        let task = Task { stop: Some(cancel("001")), ..run(stepping(1), 7) };
        assert_eq!(after(unfinished(), task).task.migration(), Some("001"));
    }
}
