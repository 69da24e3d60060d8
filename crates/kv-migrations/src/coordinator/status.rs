//! Asking for the state of each migration, and for the history.

use super::adopt::adopt_once;
use super::error::CoordinatorError;
use super::object::Coordinator;
use super::report::HistoryEntry;
use super::storage::{StorageError, history};
use super::transition::MAX_TRIES;
use crate::clock::iso8601;
use crate::ledger::Markers;
use crate::report::{PlanReport, State, Status, StatusReport};
use crate::runner::{Until, unregistered};

/// What the status says of a migration whose last steps did not end.
fn cut_off(tries: u32) -> String {
    format!(
        "Its last step was cut off ({tries} of {MAX_TRIES} times in a row): by a deploy, by a panic, or because it takes \
         more memory or CPU time than there is. It is taken again"
    )
}

impl<C> Coordinator<C> {
    /// Returns the state of every registered migration, in order. No KV operation, except the first time, when the
    /// markers in KV are adopted.
    ///
    /// # Errors
    /// [`CoordinatorError::Storage`]; and [`CoordinatorError::Runner`] if the markers in KV cannot be read.
    pub async fn status(&self) -> Result<Vec<Status>, CoordinatorError> {
        Ok(self.status_report().await?.migrations)
    }

    /// Returns what [`status`](Self::status) does, and which migrations of this service are applied or have begun
    /// but are not registered.
    ///
    /// # Errors
    /// Those of [`status`](Self::status).
    pub async fn status_report(&self) -> Result<StatusReport, CoordinatorError> {
        adopt_once(self).await?;
        let registered = self.runner.registered().ids();
        let markers = self.records.load_from(&self.records.journal(), registered).await?;
        self.records.set_lost_alarm()?;
        let (missing, unfinished) = unregistered(self.runner.registered().ids(), &markers);
        let missing_unknown = markers.is_missing_unknown();
        Ok(StatusReport { migrations: self.statuses(markers)?, missing, unfinished, missing_unknown })
    }

    /// Returns what a run [so far](Until) would do now. Nothing is changed. No KV operation but those of
    /// [`status`](Self::status), and one for every 1,000 keys that begin like markers if nothing is applied.
    ///
    /// # Errors
    /// Those of [`status`](Self::status), and [`Error::UnknownMigration`](crate::Error::UnknownMigration).
    pub async fn plan(&self, until: &Until) -> Result<PlanReport, CoordinatorError> {
        adopt_once(self).await?;
        let registered = self.runner.registered().ids();
        let markers = self.records.load_from(&self.records.journal(), registered).await?;
        let report = self.runner.begin_plan(until, &markers).await?;
        Ok(report.with_steps(self.statuses(markers)?))
    }

    /// Returns the runs and rollbacks, the newest first: the one in progress, and about a hundred that ended.
    ///
    /// # Errors
    /// [`CoordinatorError::Storage`].
    pub fn history(&self) -> Result<Vec<HistoryEntry>, CoordinatorError> {
        self.records.set_lost_alarm()?;
        let mut entries = history::read(&*self.records.storage)?;
        if let Some(task) = self.records.task()? {
            entries.insert(0, self.records.history_entry(&task)?);
        }
        Ok(entries)
    }

    /// The status of a migration that a caller has just changed. One that is not registered has no run, and no marker.
    pub(super) async fn status_of(&self, id: &str) -> Result<Status, CoordinatorError> {
        let status = self.status().await?.into_iter().find(|status| status.id == id);
        Ok(status.unwrap_or_else(|| self.runner.pending(id)))
    }

    /// What the markers and the task tell of all migrations.
    fn statuses(&self, markers: Markers) -> Result<Vec<Status>, StorageError> {
        let Some(task) = self.records.task()? else { return Ok(self.runner.statuses(markers, None)) };
        let current = task.migration();
        let is_running = self.records.is_running(&task)?;
        let running = if is_running { current } else { None };
        let mut migrations = self.runner.statuses(markers, running);
        if let Some(status) = migrations.iter_mut().find(|status| Some(status.id.as_str()) == current) {
            if task.is_paused() {
                status.state = State::Paused;
            }
            let tries = task.cut_off(is_running);
            if tries > 0 && status.error.is_none() {
                status.state = State::Running;
                status.error = Some(cut_off(tries));
            }
            if task.is_replaceable() {
                status.retry_at = task.due().map(iso8601);
            }
        }
        Ok(migrations)
    }
}
