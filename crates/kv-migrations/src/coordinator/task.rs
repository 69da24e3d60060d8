//! A run or a rollback, from the request for it to its end: data, as its row keeps it. `transition` says how it goes
//! on.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::caller::Caller;
use super::report::{
    Activity, FailedAttempt, HistoryEntry, Intervention, InterventionKind, RunOutcome, TaskKind,
};
use crate::clock::{at_milliseconds, iso8601, milliseconds};
use crate::report::AppliedMigration;
use crate::runner::Until;
use crate::text::bounded;

/// The most failures that are kept.
const MAX_FAILURES: usize = 10;
/// The most interventions that are kept.
const MAX_INTERVENTIONS: usize = 20;
/// The most migrations that an entry of the history lists.
const MAX_LISTED: usize = 1_000;

/// A run or a rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) number: u64,
    pub(super) work: Work,
    /// The label of the caller who asked for it.
    pub(super) by: Option<String>,
    /// When it was asked for: ISO 8601.
    pub(super) since: String,
    pub(super) stage: TaskStage,
    /// Met as soon as no step is under way.
    pub(super) stop: Option<StopRequest>,
    pub(super) retries: Retries,
    pub(super) totals: Totals,
    pub(super) failures: Vec<FailedAttempt>,
    pub(super) interventions: Vec<Intervention>,
    /// How many other callers wait for it and share it.
    #[serde(default)]
    pub(super) joined: u64,
}

/// What a task found beside what its steps have written down.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) out_of_order: Vec<String>,
    pub(super) missing: Vec<String>,
    pub(super) unfinished: Vec<String>,
    /// Also what the applied migrations do not tell by themselves.
    pub(super) warnings: Vec<String>,
    /// What a rollback did.
    pub(super) rolled_back: Option<AppliedMigration>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Work {
    Migrate {
        /// The migration that it is at, once it is at one.
        migration: Option<String>,
        /// How many migrations it has applied.
        ran: u64,
        /// How far it goes. Never a number of steps.
        #[serde(default)]
        until: Until,
    },
    Rollback {
        /// The migration.
        id: String,
        /// Whether a step has found something to roll back.
        is_begun: bool,
    },
    /// A rollback of several migrations.
    RollbackUntil {
        /// The migration that it is at, once it is at one.
        migration: Option<String>,
        /// How many migrations it has rolled back.
        ran: u64,
        /// How far it goes. Never a number of steps.
        until: Until,
    },
}

/// What happens next. Times are in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum TaskStage {
    /// The next step is due at this time.
    Due { at: u64 },
    /// A step has begun that was due at this time, for the `tries`th time: whenever it did not end, it was cut off.
    /// Whether it still goes on is known from the lease.
    Stepping { due: u64, tries: u32, is_retry: bool },
    /// The last step failed. It is retried at this time.
    Retrying { at: u64 },
    /// KV's daily quota is used up. The next step is due when it begins again.
    AwaitingQuota { at: u64 },
    /// Nothing, until it is resumed.
    Paused,
}

/// What a caller has asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum StopRequest {
    /// Pauses the task if it is still at this migration.
    Pause { at: String },
    /// Cancels the task, even if it has moved on. The checkpoint of this migration is forgotten, and no other.
    Cancel { at: String },
}

/// The retries of the migration that a task is at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Retries {
    /// How many there were since the migration last got further than before.
    pub(super) count: u32,
    /// The largest number of entries that were done when it failed.
    pub(super) done: u64,
}

/// What the steps of a task took. The duration is in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Totals {
    /// The steps that have ended.
    pub(super) steps: u64,
    pub(super) duration_ms: u64,
    pub(super) operations: u64,
    pub(super) failed_attempts: u64,
}

impl Totals {
    pub(super) fn add_step(&mut self, duration_ms: u64, operations: u64) {
        self.duration_ms = self.duration_ms.saturating_add(duration_ms);
        self.operations = self.operations.saturating_add(operations);
    }
}

impl Work {
    pub(super) fn migrate(until: Until) -> Self {
        Self::Migrate { migration: None, ran: 0, until }
    }

    pub(super) fn rollback(id: &str) -> Self {
        Self::Rollback { id: id.to_owned(), is_begun: false }
    }

    pub(super) fn rollback_until(until: Until) -> Self {
        Self::RollbackUntil { migration: None, ran: 0, until }
    }

    /// Whether it is a run of everything, which several callers can share.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Migrate { until: Until::End, .. })
    }

    /// Whether it is over after one step, however far that gets.
    pub(super) fn is_one_step(&self) -> bool {
        matches!(self, Self::Migrate { until: Until::Entries(_), .. })
    }

    pub(super) fn kind(&self) -> TaskKind {
        match self {
            Self::Migrate { .. } => TaskKind::Migrate,
            Self::Rollback { .. } | Self::RollbackUntil { .. } => TaskKind::Rollback,
        }
    }
}

impl Task {
    pub(super) fn new(number: u64, work: Work, caller: &Caller, now: SystemTime) -> Self {
        Self {
            number,
            work,
            by: caller.label.clone(),
            since: iso8601(now),
            stage: TaskStage::Due { at: milliseconds(now) },
            stop: None,
            retries: Retries::default(),
            totals: Totals::default(),
            failures: Vec::new(),
            interventions: Vec::new(),
            joined: 0,
        }
    }

    /// Whether a step of it has begun.
    pub(super) fn has_begun(&self) -> bool {
        self.totals.steps > 0 || !matches!(self.stage, TaskStage::Due { .. })
    }

    /// Counts callers who share it.
    pub(super) fn add_joined(&mut self, callers: u64) {
        self.joined = self.joined.saturating_add(callers);
    }

    /// The migration that it is at.
    pub(super) fn migration(&self) -> Option<&str> {
        match &self.work {
            Work::Migrate { migration, .. } | Work::RollbackUntil { migration, .. } => migration.as_deref(),
            Work::Rollback { id, .. } => Some(id),
        }
    }

    /// When its next step is due, or was; `None` if it is paused.
    pub(super) fn due(&self) -> Option<SystemTime> {
        match self.stage {
            TaskStage::Due { at }
            | TaskStage::Stepping { due: at, .. }
            | TaskStage::Retrying { at }
            | TaskStage::AwaitingQuota { at } => Some(at_milliseconds(at)),
            TaskStage::Paused => None,
        }
    }

    /// The task with a time for its next step that a clock of today can have written: a later one would be waited for,
    /// perhaps for ever.
    pub(super) fn with_possible_times(mut self, now: SystemTime) -> Self {
        const MAX_PAUSE: Duration = Duration::from_hours(25);
        let latest = milliseconds(now + MAX_PAUSE);
        match &mut self.stage {
            TaskStage::Due { at }
            | TaskStage::Stepping { due: at, .. }
            | TaskStage::Retrying { at }
            | TaskStage::AwaitingQuota { at } => {
                if *at > latest {
                    *at = milliseconds(now);
                }
            }
            TaskStage::Paused => {}
        }
        self
    }

    pub(super) fn is_paused(&self) -> bool {
        self.stage == TaskStage::Paused
    }

    /// Whether its last step failed and is to be retried, or is being retried.
    pub(super) fn is_retrying(&self) -> bool {
        matches!(self.stage, TaskStage::Retrying { .. } | TaskStage::Stepping { is_retry: true, .. })
    }

    /// Whether it waits for KV's daily quota.
    pub(super) fn is_awaiting_quota(&self) -> bool {
        matches!(self.stage, TaskStage::AwaitingQuota { .. })
    }

    /// Whether it waits for what somebody may have mended meanwhile, so that the next run takes its place.
    pub(super) fn is_replaceable(&self) -> bool {
        self.is_retrying() || self.is_awaiting_quota()
    }

    /// How many times in a row its step was cut off. `is_running`: a step is under way, which is not cut off yet.
    pub(super) fn cut_off(&self, is_running: bool) -> u32 {
        match self.stage {
            TaskStage::Stepping { tries, .. } => tries.saturating_sub(u32::from(is_running)),
            _ => 0,
        }
    }

    /// How it stands while it is not over.
    pub(super) fn outcome(&self) -> RunOutcome {
        if self.is_paused() { RunOutcome::Paused } else { RunOutcome::Running }
    }

    /// Says which migration it is at, of a run or of a rollback of several.
    pub(super) fn set_migration(&mut self, id: Option<String>) {
        if let Work::Migrate { migration, .. } | Work::RollbackUntil { migration, .. } = &mut self.work {
            *migration = id;
        }
    }

    /// A run is at this migration now, for which retries are counted from zero. Successful steps do not reset them: a
    /// re-key that fails starts over, and would do so for ever. A rollback of one is at its own migration always.
    pub(super) fn move_to(&mut self, id: Option<String>) {
        if !matches!(self.work, Work::Rollback { .. }) && self.migration() != id.as_deref() {
            self.set_migration(id);
            self.retries = Retries::default();
        }
    }

    /// Notes what a caller asked for.
    pub(super) fn add_intervention(&mut self, action: InterventionKind, caller: &Caller, now: SystemTime) {
        if self.interventions.len() < MAX_INTERVENTIONS {
            self.interventions.push(Intervention { at: iso8601(now), action, by: caller.label.clone() });
        }
    }

    /// Notes a failure. The first ones are kept because they are the cause, and the last one because it ended the run.
    pub(super) fn add_failure(&mut self, error: String, now: SystemTime) {
        let error = bounded(error);
        self.totals.failed_attempts = self.totals.failed_attempts.saturating_add(1);
        self.failures.truncate(MAX_FAILURES - 1);
        self.failures.push(FailedAttempt { at: iso8601(now), error });
    }

    pub(super) fn activity(&self) -> Activity {
        Activity {
            by: self.by.clone(),
            since: self.since.clone(),
            migration: self.migration().map(str::to_owned),
            progress: None,
        }
    }

    /// Its entry in the history, with what it has applied.
    pub(super) fn history_entry(
        &self,
        outcome: RunOutcome,
        ended_at: Option<String>,
        applied: Vec<AppliedMigration>,
        findings: Findings,
    ) -> HistoryEntry {
        let Findings { out_of_order, missing, unfinished, mut warnings, rolled_back } = findings;
        let action = self.work.kind();
        if warnings.is_empty() && action == TaskKind::Migrate {
            warnings.extend(applied.iter().filter_map(AppliedMigration::warning));
        }
        let listed = |all: Vec<String>| all.into_iter().take(MAX_LISTED).collect();
        let is_finished_run = outcome == RunOutcome::Finished && !matches!(self.work, Work::Rollback { .. });
        let (to, entries) = match &self.work {
            Work::Migrate { until: Until::Migration(last), .. }
            | Work::RollbackUntil { until: Until::Migration(last), .. } => (Some(last.clone()), None),
            Work::Migrate { until: Until::Entries(entries), .. } => (None, Some(*entries)),
            _ => (None, None),
        };
        HistoryEntry {
            number: self.number,
            action,
            by: self.by.clone(),
            started_at: self.since.clone(),
            ended_at,
            outcome,
            migration: self.migration().filter(|_| !is_finished_run).map(str::to_owned),
            to,
            entries,
            ran: applied.iter().take(MAX_LISTED).map(|applied| applied.id.clone()).collect(),
            warnings: listed(warnings),
            out_of_order: listed(out_of_order),
            missing: listed(missing),
            unfinished: listed(unfinished),
            details: {
                let done = applied.into_iter().chain(rolled_back);
                done.filter(|applied| applied.entries.is_some()).take(MAX_LISTED).collect()
            },
            steps: self.totals.steps,
            duration_ms: self.totals.duration_ms,
            operations: self.totals.operations,
            failed_attempts: self.totals.failed_attempts,
            failures: self.failures.clone(),
            interventions: self.interventions.clone(),
            joined: self.joined,
        }
    }
}
