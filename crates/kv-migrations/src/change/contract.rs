//! The contract of a change.

use std::time::Duration;

use super::job::Job;
use crate::error::Result;
use crate::future::BoxFuture;
use crate::ledger::AppliedRecord;
use crate::report::{AppliedMigration, FailedEntry, MigrationKind};

/// A change to the data of a service.
pub(crate) trait Change<C>: Send + Sync {
    /// Makes the change, or as much of it as the budget allows.
    fn run<'a>(&'a self, job: &'a mut Job<'_>, context: &'a C) -> BoxFuture<'a, Result<Outcome>>;

    /// What kind of change it is.
    fn kind(&self) -> MigrationKind {
        MigrationKind::Plain
    }

    /// Whether another request can resume it.
    fn is_resumable(&self) -> bool;

    /// Why it cannot be registered, if so.
    fn refusal(&self) -> Option<String> {
        None
    }

    /// Adds the entries that it skipped to the record that it is applied. A hook, so that Workers without long migrations do
    /// not carry that code.
    fn add_skipped(&self, _applied: &mut AppliedRecord, _failed: &[FailedEntry]) {}

    /// What looks like a mistake in what it did.
    fn warning(&self, _applied: &AppliedMigration) -> Option<String> {
        None
    }
}

/// Any change.
pub(crate) type BoxChange<C> = Box<dyn Change<C>>;

/// The pause before the next request where only KV's limit of one write a second to a marker requires one.
pub(crate) const NEXT_REQUEST: Duration = Duration::from_secs(1);

/// How far a change got.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is made, except for these entries, which it was told to skip.
    Done(Vec<FailedEntry>),
    /// Another run made it in the meantime.
    AlreadyApplied,
    /// The next request resumes it from its checkpoint, after this time.
    Paused { retry_after: Duration },
    /// It could not advance within the rest of the budget. If a whole budget is not enough either, it fails for this
    /// reason.
    OverBudget { reason: String },
}
