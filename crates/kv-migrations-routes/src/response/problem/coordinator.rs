//! The errors that only a coordinator answers, or the way to it.

use std::time::Duration;

use kv_migrations::coordinator::{Activity, CoordinatorError, StorageError};

use super::Problem;
use super::kinds::{self, Kind};
use super::refusal::RELEASE_RETRY_AFTER;
use crate::request::release::Release;

/// When to ask a coordinator again that is busy or was reset.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How much of a wrong name is told.
const MAX_NAME_CHARACTERS: usize = 100;

impl Problem {
    /// The Worker has no Durable Object namespace of this name.
    pub(crate) fn no_coordinator(detail: String) -> Box<Self> {
        Self::new(&kinds::NO_COORDINATOR, detail)
    }

    /// The request has too many headers to be forwarded.
    pub(crate) fn head_too_large(limit: usize) -> Box<Self> {
        Self::new(
            &kinds::HEAD_TOO_LARGE,
            format!("The headers have more than the {limit} bytes that a coordinator takes."),
        )
    }

    /// The row with the object's name has another one.
    pub(crate) fn wrong_name(name: &str, stored: &[u8]) -> Box<Self> {
        let stored: String = String::from_utf8_lossy(stored).chars().take(MAX_NAME_CHARACTERS).collect();
        let detail = format!(
            "The row `name` of the coordinator `{name}` holds the name {stored:?}, so that its alarms do nothing. The \
             row is damaged, or another service has used the object. To keep what the object holds, replace the row: \
             POST /migrations/{{id}}/cancel, with any registered id."
        );
        Self::new(&kinds::UNREADABLE_ROW, detail)
    }

    /// Another object answers than the one that was asked for.
    pub(crate) fn wrong_coordinator(detail: String) -> Box<Self> {
        Self::new(&kinds::WRONG_COORDINATOR, detail)
    }

    /// The object's storage failed: for good, if its class was made without a database.
    pub(crate) fn storage_failed(reason: &str) -> Box<Self> {
        // So the runtime says it.
        if reason.contains("SQL is not enabled") {
            return Self::new(
                &kinds::COORDINATOR_WITHOUT_SQLITE,
                "The class of the coordinator has no SQLite storage.",
            );
        }
        Self::coordinator_unavailable(reason)
    }

    /// The object refused a caller whom the Worker let in.
    pub(crate) fn coordinator_denied(binding: &str) -> Box<Self> {
        let detail = format!("The object behind `{binding}` refuses this caller, whom the Worker let in.");
        Self::new(&kinds::COORDINATOR_DENIED, detail)
    }

    /// The object refuses a request of a Worker that does not register the same migrations.
    pub(crate) fn other_release(registered: Vec<String>) -> Box<Self> {
        let detail = "The object does not register the same migrations as the Worker that asks it.";
        Self::release_mismatch(detail.to_owned(), Some(registered))
    }

    /// The object that answered runs another release than this Worker. `registered` is what it registers, if it says
    /// so.
    pub(crate) fn object_of_other_release(worker: &Release, registered: Option<Vec<String>>) -> Box<Self> {
        let difference = registered.as_ref().map_or_else(
            || "The object does not say which migrations it registers.".to_owned(),
            |object| worker.difference(object).text(),
        );
        let detail = format!("The coordinator's object runs another release than the Worker. {difference}");
        Self::release_mismatch(detail, registered)
    }

    fn release_mismatch(detail: String, registered: Option<Vec<String>>) -> Box<Self> {
        let mut problem = Self::new(&kinds::RELEASE_MISMATCH, detail).with_retry_after(RELEASE_RETRY_AFTER);
        problem.registered = registered;
        problem
    }

    /// The object did not answer, or could not write its storage.
    pub(crate) fn coordinator_unavailable(reason: &str) -> Box<Self> {
        Self::new(&kinds::COORDINATOR_UNAVAILABLE, format!("The coordinator could not be asked: {reason}"))
            .with_retry_after(RETRY_AFTER)
    }

    /// An unfinished run that alarms continue: the caller need not ask for it again.
    pub(crate) fn continued_by_alarms(mut self: Box<Self>) -> Box<Self> {
        self.help = "Nothing is wrong, and nothing has to be done: the run continues by itself. GET /migrations/status \
                     shows its progress, and POST /migrate?wait=true waits for its end."
            .into();
        self
    }

    /// A refusal because of a run in progress, whose members are the problem's too.
    fn busy(kind: &Kind, detail: String, activity: Activity) -> Box<Self> {
        let mut problem = Self::new(kind, detail).with_migration(activity.migration);
        problem.by = activity.by;
        problem.since = Some(activity.since);
        problem.progress = activity.progress;
        problem
    }
}

impl From<StorageError> for Box<Problem> {
    fn from(error: StorageError) -> Self {
        let detail = error.to_string();
        match error.unreadable_row() {
            Some(_) => Problem::new(&kinds::UNREADABLE_ROW, detail),
            None => Problem::storage_failed(&detail),
        }
    }
}

impl From<CoordinatorError> for Box<Problem> {
    fn from(error: CoordinatorError) -> Self {
        let detail = error.to_string();
        match error {
            CoordinatorError::Runner(error) => error.into(),
            CoordinatorError::InProgress(activity) => {
                Problem::busy(&kinds::COORDINATED_RUN_IN_PROGRESS, detail, *activity)
                    .with_retry_after(RETRY_AFTER)
            }
            CoordinatorError::Paused(activity) => Problem::busy(&kinds::RUN_PAUSED, detail, *activity),
            CoordinatorError::Cancelled { id, .. } => {
                Problem::new(&kinds::RUN_CANCELLED, detail).with_migration(id)
            }
            CoordinatorError::CutOff { id, .. } => {
                Problem::new(&kinds::RUN_CUT_OFF, detail).with_migration(id)
            }
            CoordinatorError::AnotherRelease { .. } => Problem::release_mismatch(detail, None),
            CoordinatorError::NotRunning { id, .. } => {
                Problem::new(&kinds::NOT_RUNNING, detail).with_migration(id)
            }
            CoordinatorError::NotPaused { id, .. } => {
                Problem::new(&kinds::NOT_PAUSED, detail).with_migration(id)
            }
            CoordinatorError::NotResumable { id, .. } => {
                Problem::new(&kinds::NOT_RESUMABLE, detail).with_migration(id)
            }
            CoordinatorError::UnknownMigration { id, .. } => {
                Problem::new(&kinds::UNKNOWN_MIGRATION, detail).with_migration(id)
            }
            CoordinatorError::Context(reason) => Problem::context(&reason),
            CoordinatorError::Storage(error) => error.into(),
            _ => Problem::new(&kinds::OTHER, detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_damaged_row_or_a_long_list_of_migrations_holds_makes_no_long_text() {
        let ids: Vec<String> = (0..3_000).map(|number| format!("{number:0500}")).collect();
        let release = Release { ids: ids.clone(), digest: String::new() };
        let problem = Problem::object_of_other_release(&release, Some(vec!["001".to_owned()]));
        assert!(problem.detail.len() < 2_000, "{}", problem.detail.len());
        let problem = Problem::object_of_other_release(&release, Some(ids.iter().rev().cloned().collect()));
        assert_eq!(problem.registered.map(|ids| ids.len()), Some(3_000), "a member lists all");
        let problem = Problem::wrong_name("KV/my-service", &vec![b'x'; 100_000]);
        assert!(problem.detail.len() < 2_000, "{}", problem.detail.len());
    }
}
