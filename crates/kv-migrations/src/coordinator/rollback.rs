//! Asking for a rollback, of one migration or of several.

use super::adopt::{adopt, adopt_once};
use super::caller::Caller;
use super::error::CoordinatorError;
use super::object::Coordinator;
use super::storage::RowChange;
use super::task::{Task, Work};
use super::waiters::TaskReport;
use crate::change::NEXT_REQUEST;
use crate::report::{RollbackReport, RunReport};
use crate::runner::{RollbackPlan, Until};

impl<C> Coordinator<C> {
    /// Asks for a rollback, and waits as [`run_pending`](Self::run_pending) does.
    ///
    /// # Errors
    /// Those of [`run_pending`](Self::run_pending). If the migration is unknown, not applied or irreversible, the error
    /// is a [`CoordinatorError::Runner`].
    pub async fn rollback(&self, id: &str, caller: &Caller) -> Result<RollbackReport, CoordinatorError> {
        adopt_once(self).await?;
        let number = self.begin(Work::rollback(id), caller).await?;
        match self.report(number, caller).await? {
            Some(TaskReport::Rollback(report)) => Ok(report),
            _ => Ok(RollbackReport { retry_after: Some(NEXT_REQUEST), ..RollbackReport::default() }),
        }
    }

    /// Asks for a rollback of several migrations, [so far](Until), and waits as [`run_pending`](Self::run_pending) does. If the
    /// report is not [finished](RunReport::is_finished), alarms continue.
    ///
    /// # Errors
    /// Those of [`run_pending`](Self::run_pending). What
    /// [refuses](crate::Runner::rollback_until) a rollback without a coordinator is a [`CoordinatorError::Runner`].
    pub async fn rollback_until(
        &self,
        until: &Until,
        caller: &Caller,
    ) -> Result<RunReport, CoordinatorError> {
        adopt_once(self).await?;
        self.adopt_all().await?;
        let number = self.begin(Work::rollback_until(until.clone()), caller).await?;
        let task = self.records.task()?;
        if let Some(TaskReport::Run(report)) = self.report(number, caller).await? {
            return Ok(*report);
        }
        // Its first step has not ended yet, or another instance has ended it.
        let mut report = RunReport { retry_after: Some(NEXT_REQUEST), ..RunReport::default() };
        if let Some(Task { work: Work::RollbackUntil { until, .. }, .. }) = task {
            (report.to, report.remaining) = self.planned_rollback(&until).await?;
        }
        Ok(report)
    }

    /// Adopts what was applied without the object: a number of steps counts it. The steps of a task in progress do so themselves.
    async fn adopt_all(&self) -> Result<(), CoordinatorError> {
        let Self { records, runner, .. } = self;
        if records.task()?.is_some() {
            return Ok(());
        }
        let write = |changes: Vec<RowChange>| records.storage.write(&changes).map(|()| true);
        adopt(&runner.ledger(), runner.registered().ids(), &records.journal(), write).await
    }

    /// The last migration that a rollback leaves, and those that it rolls back. An error if it is refused. Waits for nothing
    /// but rows.
    pub(super) async fn planned_rollback(
        &self,
        until: &Until,
    ) -> Result<(Option<String>, Vec<String>), CoordinatorError> {
        let (records, registered) = (&self.records, self.runner.registered());
        let journal = records.journal();
        let markers = records.load_from(&journal, registered.ids()).await?;
        let note = records.ledger(journal).rollback_note(&markers).await?;
        let service = self.runner.service();
        let plan = RollbackPlan::new(registered, service, &markers, note.as_deref(), until)?;
        Ok((plan.to, plan.steps.into_iter().map(|(id, _)| id.to_owned()).collect()))
    }
}
