//! Asking to change what is recorded of a migration, without running it.

use super::adopt::{adopt, adopt_once};
use super::caller::Caller;
use super::error::CoordinatorError;
use super::object::Coordinator;
use super::records::put_number;
use super::report::{HistoryEntry, InterventionKind, TaskKind};
use super::storage::{RowChange, StorageError, history};
use super::task::Task;
use crate::clock::iso8601;
use crate::error::Error;
use crate::kv::Entry;
use crate::ledger::{AppliedRecord, Marker, Stored};
use crate::report::{RunReport, Status};
use crate::runner::{Correction, Plan, Until};

/// How the history names a correction, and one that ends a run.
fn names(correction: Correction) -> (TaskKind, InterventionKind) {
    match correction {
        Correction::Reset => (TaskKind::Reset, InterventionKind::Reset),
        Correction::Mark => (TaskKind::Mark, InterventionKind::Mark),
        Correction::Unmark => (TaskKind::Unmark, InterventionKind::Unmark),
    }
}

impl<C> Coordinator<C> {
    /// Forgets the checkpoint or the failure of a migration: the next run starts it over. What it changed so far stays.
    /// A run that is paused at it, or waits to retry it, is cancelled. Returns its status. A migration that is pending
    /// already stays so.
    ///
    /// The marker may be one that only KV has, since a run without the coordinator has left it. The migration need not be
    /// registered if its marker names this service. A row of its marker that cannot be read is
    /// replaced: the migration counts as applied then only if its marker in KV says so.
    ///
    /// # Errors
    /// [`CoordinatorError::InProgress`] if a run is at this migration: cancel that instead. A
    /// [`CoordinatorError::Runner`] with [`Error::AlreadyApplied`],
    /// [`Error::UnknownMigration`] or [`Error::ForeignMarker`].
    pub async fn reset(&self, id: &str, caller: &Caller) -> Result<Status, CoordinatorError> {
        self.correct(id, Correction::Reset, caller).await
    }

    /// Records a migration as applied without running it: somebody has done by hand what it does. A checkpoint or a failure
    /// of it is forgotten. A run that is paused at it, or waits to retry it, is cancelled. Returns its status. A migration
    /// that is applied already stays as it is.
    ///
    /// # Errors
    /// [`CoordinatorError::InProgress`] if a run or a rollback is in progress. A [`CoordinatorError::Runner`] with
    /// [`Error::UnknownMigration`] or [`Error::ForeignMarker`].
    pub async fn mark(&self, id: &str, caller: &Caller) -> Result<Status, CoordinatorError> {
        self.correct(id, Correction::Mark, caller).await
    }

    /// Forgets that a migration is applied, without its `down`: the next run applies it again. A rollback that waits to
    /// retry it is cancelled. Returns its status.
    ///
    /// The migration need not be registered if its marker names this service.
    ///
    /// # Errors
    /// [`CoordinatorError::InProgress`] if a run or a rollback is in progress. A [`CoordinatorError::Runner`] with
    /// [`Error::NotRun`], [`Error::UnknownMigration`] or
    /// [`Error::ForeignMarker`].
    pub async fn unmark(&self, id: &str, caller: &Caller) -> Result<Status, CoordinatorError> {
        self.correct(id, Correction::Unmark, caller).await
    }

    /// Makes one correction: [`reset`](Self::reset), [`mark`](Self::mark) or [`unmark`](Self::unmark).
    ///
    /// # Errors
    /// Those of the method.
    pub async fn correct(
        &self,
        id: &str,
        correction: Correction,
        caller: &Caller,
    ) -> Result<Status, CoordinatorError> {
        let is_registered = self.runner.check_correctable(id, correction)?;
        let is_replaced = correction == Correction::Reset && self.replace_unreadable_marker(id).await?;
        adopt_once(self).await?;
        if is_replaced {
            self.end_task_at(id, correction, caller).await?;
            let alarm: Vec<RowChange> = self.alarm_for_copies()?.into_iter().collect();
            self.records.storage.write(&alarm)?;
            return self.status_of(id).await;
        }
        self.stopped_task_at(id, correction)?;
        // What is refused ends no run.
        let is_in_kv = self.only_in_kv(id, is_registered).await?;
        self.is_needed(id, correction, is_registered, is_in_kv, is_registered).await?;
        self.end_task_at(id, correction, caller).await?;
        // Again: the end of a run can have forgotten it, and another run can have applied it meanwhile.
        if self.is_needed(id, correction, is_registered, is_in_kv, true).await? {
            self.write_correction(id, correction, caller)?;
        }
        self.status_of(id).await
    }

    /// Whether there is something to change. An error if that is refused. Waits for nothing but rows. `is_in_kv`: only KV
    /// has a marker, of a migration that is not applied.
    async fn is_needed(
        &self,
        id: &str,
        correction: Correction,
        is_registered: bool,
        is_in_kv: bool,
        is_known: bool,
    ) -> Result<bool, CoordinatorError> {
        let journal = self.records.journal();
        let stored = self.records.ledger(journal.clone()).stored(id, is_registered).await;
        let stored = stored.map_err(|error| {
            journal.take_failure().map_or_else(|| CoordinatorError::from(error), Into::into)
        })?;
        let (has_marker, is_applied) = (stored.is_some(), stored.is_some_and(|stored| stored.is_applied()));
        let has_marker = has_marker || is_in_kv;
        Ok(correction.is_needed(id, is_known || has_marker, has_marker, is_applied)?)
    }

    /// The task that is paused at a migration, or waits to retry it. An error if a step is under way there, or anywhere if
    /// that step must not find the migration marked otherwise than when it began.
    fn stopped_task_at(&self, id: &str, correction: Correction) -> Result<Option<Task>, CoordinatorError> {
        let records = &self.records;
        let Some(task) = records.task()? else { return Ok(None) };
        let is_at = task.migration() == Some(id);
        if !is_at && correction == Correction::Reset {
            return Ok(None);
        }
        if !task.is_paused() && !task.is_replaceable() || records.is_running(&task)? {
            return Err(CoordinatorError::InProgress(Box::new(task.activity())));
        }
        Ok(Some(task).filter(|_| is_at))
    }

    /// Records all registered migrations up to and including this one as applied, without running them. Those that are
    /// applied stay as they are. The report is always finished: the markers are rows, which are copied to KV later.
    ///
    /// # Errors
    /// [`CoordinatorError::InProgress`] if a run or a rollback is in progress. A [`CoordinatorError::Runner`] with
    /// [`Error::UnknownMigration`], [`Error::ForeignMarker`] or [`Error::AnotherPrefix`].
    pub async fn baseline(&self, id: &str, caller: &Caller) -> Result<RunReport, CoordinatorError> {
        let Self { records, runner, .. } = self;
        runner.check_correctable(id, Correction::Mark)?;
        adopt_once(self).await?;
        self.stopped_task_at(id, Correction::Mark)?;
        // What was applied without the object keeps what it tells.
        let write = |changes: Vec<RowChange>| records.storage.write(&changes).map(|()| true);
        adopt(&runner.ledger(), runner.registered().ids(), &records.journal(), write).await?;
        let (registered, until) = (runner.registered(), Until::Migration(id.to_owned()));
        let markers = records.load_from(&records.journal(), registered.ids()).await?;
        registered.check_visible(runner.service(), &markers).map_err(Error::from)?;
        if let Some(other) = runner.other_prefix(&runner.ledger(), &markers).await? {
            return Err(Error::AnotherPrefix { service: runner.service().to_owned(), other }.into());
        }
        let in_progress = records.task()?.and_then(|task| task.migration().map(str::to_owned));
        let end = registered.ids().position(|other| other == id).map_or(0, |place| place + 1);
        if let Some(at) = in_progress.filter(|at| registered.ids().take(end).any(|id| id == at.as_str())) {
            self.end_task_at(&at, Correction::Mark, caller).await?;
        }
        // Again, and from here on nothing waits: a run can have begun meanwhile.
        self.stopped_task_at(id, Correction::Mark)?;
        let markers = records.load_from(&records.journal(), registered.ids()).await?;
        let plan = Plan::new(registered.ids(), &markers, &until)?;
        let mut report = RunReport { beyond: plan.beyond, ..RunReport::default() };
        (report.missing, report.unfinished) = (plan.missing, plan.unfinished);
        report.missing_unknown = markers.is_missing_unknown();
        let (mut changes, mut told) = (Vec::new(), Vec::new());
        for (place, id) in registered.ids().enumerate() {
            if markers.is_applied(id) {
                report.skipped.push(id.to_owned());
            } else if place < plan.end {
                let (key, entry) = (records.marker_key(id), self.mark_entry(id));
                changes.extend(records.journal().own_changes(&key, Some(&entry))?);
                told.push((key, entry));
                report.marked.push(id.to_owned());
            }
        }
        if !told.is_empty() {
            self.write_noted(changes, TaskKind::Baseline, id, report.marked.clone(), caller)?;
            for (key, entry) in &told {
                records.journal().tell(key, Some(entry), None);
            }
            for id in &report.marked {
                runner.log().info(&Correction::Mark.line(id, caller.label.as_deref()));
            }
        }
        Ok(report)
    }

    /// A marker that is written at this moment for a migration that did not run.
    fn mark_entry(&self, id: &str) -> Entry {
        let (records, revision) = (&self.records, self.runner.revision_of(id));
        let run_at = Some(iso8601(records.now()));
        let applied = AppliedRecord { run_at, revision, ..AppliedRecord::default() };
        records.ledger(records.journal()).applied_entry(&applied)
    }

    /// Writes changes of markers with an entry of the history, and has them copied to KV.
    fn write_noted(
        &self,
        mut changes: Vec<RowChange>,
        action: TaskKind,
        id: &str,
        ran: Vec<String>,
        caller: &Caller,
    ) -> Result<(), StorageError> {
        let records = &self.records;
        let number = records.next_number()?;
        let entry = HistoryEntry::of_correction(number, action, id, caller.label.clone(), records.now());
        changes.push(put_number(number));
        changes.extend(history::add(&*records.storage, HistoryEntry { ran, ..entry })?);
        changes.extend(self.alarm_for_copies()?);
        records.storage.write(&changes)
    }

    async fn end_task_at(
        &self,
        id: &str,
        correction: Correction,
        caller: &Caller,
    ) -> Result<(), CoordinatorError> {
        match self.stopped_task_at(id, correction)? {
            Some(task) => self.end(task, id, names(correction).1, caller).await.map(drop),
            None => Ok(()),
        }
    }

    /// Writes or deletes a marker, in KV too, and notes who asked for it.
    fn write_correction(
        &self,
        id: &str,
        correction: Correction,
        caller: &Caller,
    ) -> Result<(), CoordinatorError> {
        let (records, key) = (&self.records, self.records.marker_key(id));
        let marker = (correction == Correction::Mark).then(|| self.mark_entry(id));
        let changes = records.journal().own_changes(&key, marker.as_ref())?;
        self.write_noted(changes, names(correction).0, id, Vec::new(), caller)?;
        records.journal().tell(&key, marker.as_ref(), None);
        self.runner.log().info(&correction.line(id, caller.label.as_deref()));
        Ok(())
    }

    /// Has the change of a marker copied to KV: by an alarm, unless the step that is under way does it.
    fn alarm_for_copies(&self) -> Result<Option<RowChange>, StorageError> {
        let is_stepping = self.records.is_stepping()?;
        Ok((!is_stepping).then(|| RowChange::alarm(self.records.now())))
    }

    /// Whether only KV has a marker of a migration that is not applied, since a run without the coordinator has left it. The
    /// next step would adopt it. The marker of an applied one is adopted here.
    async fn only_in_kv(&self, id: &str, is_registered: bool) -> Result<bool, CoordinatorError> {
        let (records, key) = (&self.records, self.records.marker_key(id));
        if records.journal().marker(&key)?.is_some_and(|row| row.exists()) {
            return Ok(false);
        }
        let ledger = self.runner.ledger();
        let Some(stored) = ledger.stored(id, is_registered).await? else { return Ok(false) };
        let Some(Marker::Applied(applied)) = Stored::into_applied(stored) else { return Ok(true) };
        // KV may still show the copy from before the object has undone it.
        if records.journal().marker(&key)?.is_none_or(|row| row.is_news(applied.run_at.as_deref())) {
            let entry = ledger.applied_entry(&applied);
            records.storage.write(&records.journal().adopt(&key, &entry)?)?;
            records.journal().tell(&key, Some(&entry), None);
        }
        Ok(false)
    }
}
