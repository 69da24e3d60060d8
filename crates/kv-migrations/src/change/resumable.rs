//! A change that takes more than one request and resumes from its checkpoint.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::checkpoint::Start;
use super::left_out::count_left_out;
use super::prefixes::Overlap;
use super::walk::Scope;
use super::{Change, Job, NEXT_REQUEST, Outcome};
use crate::error::{BoxError, Result};
use crate::future::BoxFuture;
use crate::kv::Kv;
use crate::kv::limits::MAX_VALUE_BYTES;
use crate::ledger::AppliedRecord;
use crate::report::{AppliedMigration, Direction, FailedEntry, MigrationKind};
use crate::session::Session;

/// What differs between such changes.
pub(crate) trait Resumable<C>: Send + Sync {
    /// What migrations report it as.
    const KIND: MigrationKind;

    /// What a checkpoint keeps.
    type State: Serialize + DeserializeOwned;

    /// How large a checkpoint may be. A Worker has 128 MB of memory for all its requests.
    const MAX_CHECKPOINT_BYTES: usize = MAX_VALUE_BYTES;

    /// The kind of the change. A checkpoint of another kind, or of other prefixes, is not read.
    fn kind(&self) -> &'static str;

    /// The keys of the entries that it works on.
    fn scope(&self) -> &Scope;

    /// Why it cannot be registered, if so. Prefixes that overlap are refused anyway.
    fn refusal(&self) -> Option<String> {
        None
    }

    /// What a checkpoint knows the change by.
    fn name(&self) -> String {
        format!("{} {}", self.kind(), self.scope().text())
    }

    /// The namespaces that it works on beside the routes' own.
    fn other_namespaces(&self, session: &Session<'_>) -> Vec<Kv> {
        let scope = self.scope();
        scope.namespace().map(|_| scope.kv(session)).into_iter().collect()
    }

    /// The state at the beginning. Begins the first phase.
    fn begin(&self, job: &mut Job<'_>) -> Self::State;

    /// Gets as far as the budget allows. The state says how far, even after an error.
    async fn advance(&self, job: &mut Job<'_>, context: &C, state: &mut Self::State) -> Result<Advance>;
}

/// How far a resumable change got.
pub(crate) enum Advance {
    /// To the end, except for these entries.
    Done(Vec<FailedEntry>),
    /// As far as the budget allows.
    Paused,
    /// To a point where it has to wait. Its checkpoint says so already.
    Waiting(Duration),
    /// To a failure after which no checkpoint can keep the state: the next run starts over.
    Lost(BoxError),
    /// It failed, and what it did since the last checkpoint is not to be kept.
    Undone(BoxError),
    /// Nowhere: the budget is too small for one step.
    Stuck { what: &'static str, instead: &'static str },
}

fn stuck(job: &mut Job<'_>, state: &impl Serialize, what: &str, instead: &str) -> Outcome {
    job.keep(state);
    Outcome::OverBudget { reason: job.over_budget(what, instead) }
}

/// Makes a [`Change`] of a [`Resumable`].
pub(crate) struct ResumableChange<R>(pub(crate) R);

impl<C, R: Resumable<C>> Change<C> for ResumableChange<R> {
    fn run<'a>(&'a self, job: &'a mut Job<'_>, context: &'a C) -> BoxFuture<'a, Result<Outcome>> {
        Box::pin(async move {
            job.session().meter.set_reserve(true);
            let mut state = match job.load(self.0.name(), R::MAX_CHECKPOINT_BYTES).await? {
                Start::AlreadyApplied => return Ok(Outcome::AlreadyApplied),
                Start::Resumed(state) => state,
                Start::Fresh => {
                    if job.direction() == Direction::Down {
                        // Before it is announced: if one is not bound any more, the migration stays applied.
                        for kv in self.0.other_namespaces(job.session()) {
                            kv.bytes(&job.session().ledger.key(job.id())).await?;
                        }
                    }
                    let state = self.0.begin(job);
                    job.announce(&state).await?;
                    state
                }
            };
            match self.0.advance(job, context, &mut state).await {
                Ok(Advance::Done(failed_entries)) => {
                    if job.direction() == Direction::Up {
                        job.set_left_out(count_left_out(job.session(), self.0.scope()).await);
                    }
                    Ok(Outcome::Done(failed_entries))
                }
                Ok(Advance::Waiting(retry_after)) => Ok(Outcome::Paused { retry_after }),
                Ok(Advance::Paused) if job.is_stuck() => {
                    let what = job.first_step();
                    Ok(stuck(job, &state, what, "spend less before it"))
                }
                Ok(Advance::Paused) => {
                    job.save(&state).await?;
                    Ok(Outcome::Paused { retry_after: NEXT_REQUEST })
                }
                Ok(Advance::Stuck { what, instead }) => Ok(stuck(job, &state, what, instead)),
                // The last checkpoint stays.
                Ok(Advance::Undone(error)) => Err(error),
                Ok(Advance::Lost(error)) => {
                    job.keep_nothing();
                    Err(error)
                }
                Err(error) => {
                    if job.session().is_over_quota() {
                        // The quota that is used up may be another one than that of writes.
                        job.save(&state).await.ok();
                    }
                    job.keep(&state);
                    Err(error)
                }
            }
        })
    }

    fn kind(&self) -> MigrationKind {
        R::KIND
    }

    fn is_resumable(&self) -> bool {
        true
    }

    fn refusal(&self) -> Option<String> {
        let Some(Overlap { shorter, longer }) = self.0.scope().prefixes().overlap() else {
            return self.0.refusal();
        };
        Some(format!(
            "its prefixes `{shorter}` and `{longer}` overlap: entries of the longer one would be visited twice. Take the \
             longer one out"
        ))
    }

    fn add_skipped(&self, applied: &mut AppliedRecord, failed: &[FailedEntry]) {
        applied.add_skipped(failed);
    }

    fn warning(&self, applied: &AppliedMigration) -> Option<String> {
        applied.warning()
    }
}
