//! Rolls back several migrations, the last first.

use super::apply::Share;
use super::plan::unregistered;
use super::{Registered, Runner, is_half_spent};
use crate::change::NEXT_REQUEST;
use crate::error::Error;
use crate::future::BoxFuture;
use crate::ledger::{Marker, MarkerState, Markers};
use crate::report::{AppliedMigration, RollbackReport, RunReport};
use crate::session::Session;

/// How far back a rollback goes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Back<'a> {
    /// To this migration, which stays.
    To(&'a str),
    /// Over the last migrations that are applied, this many.
    Steps(u64),
    /// Over all of them.
    All,
}

/// What a rollback takes back.
#[derive(Debug, PartialEq, Eq)]
struct RollbackPlan {
    /// The last first.
    ids: Vec<String>,
    /// The registered migration before them, which stays.
    to: Option<String>,
}

impl<C> Registered<C> {
    /// All that is applied, or applied in part, so far back. An error if one of them cannot be rolled back.
    fn plan_rollback(&self, markers: &Markers, back: &Back<'_>) -> Result<RollbackPlan, Error> {
        if let Back::To(id) = *back
            && self.get(id).is_none()
        {
            return Err(Error::UnknownMigration { id: id.to_owned() });
        }
        if let Some(id) = unregistered(self.ids(), markers).0.into_iter().next() {
            return Err(Error::NotRegistered { id });
        }
        let mut steps = if let Back::Steps(steps) = *back { steps } else { u64::MAX };
        let mut ids = Vec::new();
        for migration in self.migrations().iter().rev() {
            let id = migration.id();
            if steps == 0 || *back == Back::To(id) {
                return Ok(RollbackPlan { ids, to: Some(id.to_owned()) });
            }
            let is_applied = markers.is_applied(id);
            if is_applied || markers.get(id).and_then(Marker::progress).is_some() {
                self.down(id)?;
                ids.push(id.to_owned());
                steps -= u64::from(is_applied);
            }
        }
        Ok(RollbackPlan { ids, to: None })
    }
}

impl<C> Runner<C> {
    /// Rolls back all migrations that are applied, or applied in part, and registered after this one, the last first, each as
    /// [`rollback`](Self::rollback) does. [`RunReport::ran`] has those that are rolled back. If the report is not
    /// [finished](RunReport::is_finished), call it again.
    ///
    /// While it is unfinished, [`rollback_steps`](Self::rollback_steps) is refused. To give it up, ask for a rollback to the
    /// last migration that is applied: it takes nothing back.
    ///
    /// # Errors
    /// [`Error::UnknownMigration`], [`Error::Irreversible`] and [`Error::NotRegistered`], before anything runs, if what is to be
    /// rolled back cannot be. Those of [`rollback`](Self::rollback) for the first that fails: those after it in the list are
    /// rolled back.
    ///
    /// # Example
    /// ```
    /// use kv_migrations::{Migration, Runner, kv::MemoryStore};
    ///
    /// # async fn example() -> Result<(), kv_migrations::Error> {
    /// let migration = |id: &'static str| {
    ///     Migration::new(id, "", async |_, _: &()| Ok(())).with_down(async |_, _| Ok(()))
    /// };
    /// let migrations = vec![migration("001"), migration("002"), migration("003")];
    /// let runner = Runner::new(MemoryStore::new(), "my-service", migrations)?;
    /// runner.run_pending(&()).await?;
    ///
    /// assert_eq!(runner.rollback_to("001", &()).await?.ran, ["003", "002"]);
    /// assert!(runner.is_run("001").await?);
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example()).unwrap();
    /// ```
    pub async fn rollback_to(&self, id: &str, context: &C) -> Result<RunReport, Error> {
        self.rollback_back(Back::To(id), context).await
    }

    /// Rolls back the last migrations that are applied, this many, as [`rollback_to`](Self::rollback_to) does, and what is
    /// applied in part and registered after them.
    ///
    /// If the report is not [finished](RunReport::is_finished), continue with a rollback to [`RunReport::to`], or of
    /// [all](Self::rollback_all) if it names none. The same number of steps would be others, and is refused.
    ///
    /// # Errors
    /// Those of [`rollback_to`](Self::rollback_to). [`Error::RollbackUnfinished`] while a rollback of several is unfinished.
    pub async fn rollback_steps(&self, steps: u64, context: &C) -> Result<RunReport, Error> {
        self.rollback_back(Back::Steps(steps), context).await
    }

    /// Rolls back all migrations that are applied, or applied in part, as [`rollback_to`](Self::rollback_to) does.
    ///
    /// # Errors
    /// Those of [`rollback_to`](Self::rollback_to).
    pub async fn rollback_all(&self, context: &C) -> Result<RunReport, Error> {
        self.rollback_back(Back::All, context).await
    }

    /// Boxed, so that it is compiled once for all callers.
    fn rollback_back<'a>(
        &'a self,
        back: Back<'a>,
        context: &'a C,
    ) -> BoxFuture<'a, Result<RunReport, Error>> {
        Box::pin(async move {
            let session = Session::open(&self.settings, &|_| {})?;
            let markers = session.ledger.load(self.registered.ids()).await?;
            let noted = session.ledger.unfinished_rollback().await?;
            if let (Back::Steps(_), Some(to)) = (&back, &noted) {
                return Err(Error::RollbackUnfinished { to: to.clone() });
            }
            let RollbackPlan { ids, to } = self.registered.plan_rollback(&markers, &back)?;
            let note = to.clone().unwrap_or_default();
            let mut is_noted = noted.is_some();
            if noted.as_ref() != Some(&note) && self.may_be_unfinished(&ids) {
                session.ledger.note_rollback(&note).await.map_err(Error::Ledger)?;
                is_noted = true;
            }
            let mut report = RunReport { to, ..RunReport::default() };
            for id in ids {
                let has_run = !report.ran.is_empty();
                if !report.remaining.is_empty() || has_run && is_half_spent(&session) {
                    report.retry_after.get_or_insert(NEXT_REQUEST);
                    report.remaining.push(id);
                    continue;
                }
                let marker = match session.ledger.state_of(&id).await? {
                    MarkerState::Nothing => continue,
                    MarkerState::Applied => None,
                    MarkerState::Unfinished(checkpoint) => Some(checkpoint.progress.direction),
                };
                let share = if has_run { Share::Rest } else { Share::Whole };
                let down = self.registered.down(&id)?;
                let one = match self.roll_back_one(&session, &id, down, marker, context, share).await {
                    Err(Error::Failed(mut failure)) => {
                        failure.report = RunReport { progress: failure.report.progress.take(), ..report };
                        return Err(Error::Failed(failure));
                    }
                    one => one?,
                };
                if !one.is_finished() {
                    (report.progress, report.retry_after) = (one.progress, one.retry_after);
                    report.remaining.push(id);
                    continue;
                }
                report.ran.push(id.clone());
                report.details.push(detail(id, one));
            }
            if report.is_finished() && is_noted {
                session.ledger.forget_rollback().await.map_err(Error::Ledger)?;
            }
            report.operations = session.operations();
            if !report.is_finished() {
                report.quota_exhausted = session.retry_after_quota(&mut report.retry_after);
            }
            Ok(report)
        })
    }

    /// Whether a rollback of these may be unfinished after a request.
    fn may_be_unfinished(&self, ids: &[String]) -> bool {
        let is_resumable = |id: &String| matches!(self.registered.down(id), Ok(down) if down.is_resumable());
        ids.len() > 1 || ids.iter().any(is_resumable)
    }
}

fn detail(id: String, one: RollbackReport) -> AppliedMigration {
    AppliedMigration {
        id,
        duration_ms: one.duration_ms,
        operations: one.operations,
        entries: one.entries,
        failed_entries: one.failed_entries,
        more_failed_entries: 0,
        left_out: 0,
    }
}
