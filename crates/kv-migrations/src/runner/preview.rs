//! What a run would do, and why it may be a mistake. Nothing is changed.

use super::Runner;
use super::findings::findings;
use super::plan::Plan;
use super::until::Until;
use crate::error::Error;
use crate::future::BoxFuture;
use crate::ledger::Markers;
use crate::report::PlanReport;

impl<C> Runner<C> {
    /// Returns what a run [so far](Until) would do now. Nothing is changed. It takes the operations of a
    /// [status](Self::status), and one more for every 1,000 keys that begin like markers if nothing is applied.
    ///
    /// # Errors
    /// Those of [`status`](Self::status), and [`Error::UnknownMigration`].
    ///
    /// # Example
    /// ```
    /// use kv_migrations::{Migration, Runner, Until, kv::MemoryStore};
    ///
    /// # async fn example() -> Result<(), kv_migrations::Error> {
    /// let migration = Migration::new("001", "", async |_, _: &()| Ok(()));
    /// let runner = Runner::new(MemoryStore::new(), "my-service", vec![migration])?;
    /// let plan = runner.plan(&Until::End).await?;
    /// assert_eq!(plan.steps[0].id, "001");
    /// assert!(plan.findings.is_empty());
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example()).unwrap();
    /// ```
    pub fn plan<'a>(&'a self, until: &'a Until) -> BoxFuture<'a, Result<PlanReport, Error>> {
        Box::pin(async move {
            let markers = self.load().await?;
            let report = self.begin_plan(until, &markers).await?;
            Ok(report.with_steps(self.status_of_all(markers)))
        })
    }

    /// All of a plan that the markers tell beside the status of its steps.
    pub(crate) async fn begin_plan(&self, until: &Until, markers: &Markers) -> Result<PlanReport, Error> {
        let plan = Plan::new(self.registered.ids(), markers, until)?;
        let other = self.other_prefix(&self.ledger(), markers).await?;
        Ok(PlanReport {
            to: self.registered.last_asked(until, plan.end),
            findings: findings(&self.registered.revisions(), markers, &plan, other),
            beyond: plan.beyond,
            missing_unknown: markers.is_missing_unknown(),
            ..PlanReport::default()
        })
    }
}
