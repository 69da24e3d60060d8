//! One call of the runner that changes something: how one migration is applied or undone, and recorded.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::LocalBoxFuture;

use crate::budget::Spending;
use crate::change::{Change, NEXT_REQUEST, Outcome};
use crate::clock::iso8601;
use crate::error::{Stage, reason};
use crate::event::{Event, Observer};
use crate::job::Job;
use crate::kv::{Kv, KvError, Terms};
use crate::ledger::{self, FailedAt, Ledger};
use crate::lock::Claim;
use crate::log::Log;
use crate::migration::{BoxError, Migration};
use crate::progress::Progress;
use crate::report::{Detail, FailedEntry};
use crate::sabotage::{self, Defect};

/// The lease ends with it.
pub(crate) struct Run<'a> {
    /// What migrations work with: within the budget.
    pub(crate) kv: Kv,
    /// Beyond it: how far a run got can always be recorded.
    pub(crate) ledger: Ledger,
    pub(crate) spending: Spending,
    terms: Terms,
    claim: Arc<Claim>,
    log: &'a dyn Log,
    observer: &'a Observer<'a>,
}

/// How far a migration is applied.
pub(crate) enum Applied {
    Now(Detail),
    /// Another run did it meanwhile.
    ByAnother,
    /// The next run carries on; from the beginning, if there is no progress.
    Partly {
        progress: Option<Box<Progress>>,
        retry_after: Duration,
    },
}

/// How far a migration is rolled back.
pub(crate) enum Undone {
    Wholly { failed_entries: Vec<FailedEntry> },
    Partly { retry_after: Duration },
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        (kv, ledger): (Kv, Ledger),
        terms: Terms,
        claim: Arc<Claim>,
        spending: Spending,
        (log, observer): (&'a dyn Log, &'a Observer<'a>),
    ) -> Self {
        Self { kv, ledger, spending, terms, claim, log, observer }
    }

    /// Applies a migration, and records that. Where it could not get far enough within the budget, it `had_it_all`, or
    /// is to try again with a whole one.
    pub(crate) async fn apply<C>(
        &self,
        migration: &Migration<C>,
        job: &Job<'_>,
        context: &C,
        had_it_all: bool,
    ) -> Result<Applied, (Stage, BoxError)> {
        let (id, description) = (migration.id(), migration.description());
        let line = format!("[Migration] Running {id}: {description}");
        self.begin(&line, id).map_err(|error| (Stage::Up, error))?;
        self.tell(Event::Started { id, description });
        if sabotage::is_on(Defect::MarkBeforeFinish) {
            self.record(id, job, Vec::new()).await?;
        }
        let result = match migration.up().run(job, context).await {
            Ok(Outcome::OverBudget { reason }) if had_it_all => Err(reason.into()),
            outcome => outcome,
        };
        let partly = match result {
            Ok(Outcome::Done(failed_entries)) => {
                let detail = self.record(id, job, failed_entries).await?;
                self.log.info(&format!("[Migration] ✓ Completed {id}"));
                self.tell(Event::Applied(&detail));
                return Ok(Applied::Now(detail));
            }
            Ok(Outcome::AlreadyApplied) => return Ok(Applied::ByAnother),
            Ok(Outcome::Paused { retry_after }) => {
                Applied::Partly { progress: Some(job.progress()), retry_after }
            }
            Ok(Outcome::OverBudget { .. }) => Applied::Partly { progress: None, retry_after: NEXT_REQUEST },
            Err(error) => {
                self.remember_failure(migration.up().is_resumable(), job, &*error).await;
                self.tell(Event::Failed { id, error: &reason(&*error) });
                return Err((Stage::Up, error));
            }
        };
        self.log.info(&format!("[Migration] … {id} is not finished: the next run carries on"));
        self.tell(Event::Paused { id });
        Ok(partly)
    }

    async fn record(
        &self,
        id: &str,
        job: &Job<'_>,
        failed_entries: Vec<FailedEntry>,
    ) -> Result<Detail, (Stage, BoxError)> {
        let Progress { duration_ms, operations, .. } = *job.progress();
        let run_at = Some(iso8601(self.now()));
        let applied =
            ledger::Applied { run_at, duration_ms: Some(duration_ms), operations: Some(operations) };
        job.wait_for_marker().await;
        self.ledger.record_applied(id, &applied).await.map_err(|error| (Stage::Record, error.into()))?;
        Ok(Detail { id: id.to_owned(), duration_ms, operations, failed_entries })
    }

    /// Undoes a migration, and deletes its marker.
    pub(crate) async fn undo<C>(
        &self,
        down: &dyn Change<C>,
        job: &Job<'_>,
        context: &C,
    ) -> Result<Undone, (Stage, BoxError)> {
        let id = job.id();
        self.begin(&format!("[Migration] Rolling back {id}"), id).map_err(|error| (Stage::Down, error))?;
        let result = match down.run(job, context).await {
            Ok(Outcome::Done(failed_entries)) => Ok(failed_entries),
            Ok(Outcome::Paused { retry_after }) => {
                self.log.info(&format!("[Migration] … {id} is rolled back in part: roll it back again"));
                return Ok(Undone::Partly { retry_after });
            }
            // No `down` is; and nothing would be left to do.
            Ok(Outcome::AlreadyApplied) => Ok(Vec::new()),
            Ok(Outcome::OverBudget { reason }) => Err(reason.into()),
            Err(error) => Err(error),
        };
        let failed_entries = match result {
            Ok(failed_entries) => failed_entries,
            Err(error) => {
                if down.is_resumable() {
                    self.remember_failure(true, job, &*error).await;
                }
                return Err((Stage::Down, error));
            }
        };
        job.wait_for_marker().await;
        self.ledger.delete(id).await.map_err(|error| (Stage::Unrecord, error.into()))?;
        self.log.info(&format!("[Migration] ✓ Rolled back {id}"));
        Ok(Undone::Wholly { failed_entries })
    }

    /// So that a later status can tell, and a later run carry on. The failure itself is what matters: if this fails
    /// too, it only goes to the log.
    async fn remember_failure(
        &self,
        is_resumable: bool,
        job: &Job<'_>,
        error: &(dyn std::error::Error + 'static),
    ) {
        let last = job.last_checkpoint();
        if is_resumable && last.is_none() {
            // There may be a checkpoint that it could not read.
            return;
        }
        if last.is_some() {
            job.wait_for_marker().await;
        }
        let (id, at, reason) = (job.id(), iso8601(self.now()), reason(error));
        let failed = FailedAt { at: &at, reason: &reason };
        let checkpoint = last.as_ref().map(|(value, progress)| (value.as_slice(), &**progress));
        if let Err(error) = self.ledger.record_failed(id, &failed, checkpoint).await {
            self.log.error(&format!("[Migration] The failure of {id} could not be recorded: {error}"));
        }
    }

    /// Whether so much of the budget is used up that no other migration is begun: it may need more than is left.
    pub(crate) fn is_half_spent(&self) -> bool {
        self.spending.left() < self.spending.budget().operations() / 2
    }

    /// Tells the log and the lock what is done now. Fails if the lease has gone to another run.
    fn begin(&self, line: &str, id: &str) -> Result<(), BoxError> {
        if !self.claim.begin(id) {
            return Err("another run has taken its place".into());
        }
        self.log.info(line);
        Ok(())
    }

    /// Whether no other run has taken its place.
    pub(crate) fn is_current(&self) -> bool {
        self.claim.renew()
    }

    pub(crate) fn tell(&self, event: Event<'_>) {
        (self.observer)(event);
    }

    pub(crate) fn log(&self) -> &dyn Log {
        self.log
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.terms.clock.now()
    }

    pub(crate) fn sleep(&self, duration: Duration) -> LocalBoxFuture<'_, ()> {
        self.terms.clock.sleep(duration)
    }

    /// How often KV refused an operation that was tried again, and the last time.
    pub(crate) fn refusals(&self) -> Option<(u64, KvError)> {
        self.terms.refusals.last()
    }

    /// All KV operations so far.
    pub(crate) fn operations(&self) -> u64 {
        self.terms.counter.count()
    }
}
