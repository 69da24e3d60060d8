//! A change to every entry of a prefix, over as many requests as it takes.

mod ahead;
mod batch;
mod entry;
mod merge;
mod options;
mod selecting;
mod state;
mod typed;

use std::fmt;

use super::Job;
use super::count::count;
use super::prefixes::Prefixes;
use super::record::Record;
use super::resumable::{Advance, Resumable};
use super::selection::Selection;
use super::walk::{Loading, Range, Scope, Visited, Walk, WalkEnd, over_budget};
use crate::error::Result;
use crate::future::BoxFuture;
use crate::kv::{Key, Kv};
use crate::report::{MigrationKind, Phase};
use crate::session::Session;
use entry::{Each, EntryWork, ToEntry};
use state::{BackfillState, failures_text, first_failure};

/// A change to each entry whose key begins with a prefix.
///
/// It takes as many requests as the [`Budget`](crate::Budget) requires. Each request resumes where the one before stopped.
/// Values are read up to 100 at a time, and several entries are changed at once.
///
/// - **Which entries.** It first counts the keys, one operation for every 1,000. It visits them in the order of their bytes
///   and ends at the last one that it counted, even while a service adds entries. Entries that are written behind its
///   position, or after that last one, are not visited.
/// - **Checkpoints.** The marker keeps how far it got: after the first entry of a request, then at growing intervals of up
///   to two seconds, and at the end of the request.
/// - **Twice.** After a crash, everything since the last checkpoint is repeated. So an entry may be changed twice: let the
///   second time do no harm.
/// - **Markers** are left out: all keys that begin with `migration_`. If the prefix itself begins so, only the service's own
///   markers are left out.
///
/// # Example
/// ```
/// use kv_migrations::{Backfill, Migration, Runner, kv::MemoryStore};
/// use serde_json::{Map, Value};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let verified = Backfill::new("customer_", async |_, customer, _: &()| {
///     let mut fields: Map<String, Value> = customer.json()?;
///     fields.entry("verified").or_insert(false.into());
///     customer.put_json(&fields).await?;
///     Ok(())
/// });
/// let migration = Migration::backfill("003_verified", "Fill in `verified`", verified);
///
/// let store = MemoryStore::new();
/// store.insert("customer_1", r#"{"name":"Ada"}"#);
/// let report = Runner::new(store.clone(), "my-service", vec![migration])?.run_pending(&()).await?;
///
/// assert!(report.is_finished());
/// assert_eq!(store.value("customer_1").unwrap(), br#"{"name":"Ada","verified":false}"#);
/// # Ok(())
/// # }
/// # futures::executor::block_on(example()).unwrap();
/// ```
pub struct Backfill<C = ()> {
    selection: Selection,
    each: Box<dyn Each<C>>,
    /// How it works in batches, if it does.
    batches: Option<Batches<C>>,
    allows_writes_ahead: bool,
    concurrency: usize,
    max_failures: usize,
    applies_despite_failures: bool,
}

/// How a backfill works in batches. Only a constructor names the code, so that other backfills do not carry it.
struct Batches<C> {
    size: usize,
    bytes: usize,
    change: ChangeBatches<C>,
}

/// Changes all entries that are left.
type ChangeBatches<C> = for<'a> fn(
    &'a Backfill<C>,
    &'a mut Job<'_>,
    &'a C,
    &'a mut BackfillState,
) -> BoxFuture<'a, Result<WalkEnd>>;

impl<C> Backfill<C> {
    /// Runs `each` on each entry whose key begins with one of `prefixes`: `async |kv, record, context| { …; Ok(()) }`.
    ///
    /// The first entry for which it returns an error fails the migration. The next run resumes with that entry.
    pub fn new(
        prefixes: impl Into<Prefixes>,
        each: impl AsyncFn(&Kv, &Record, &C) -> Result + Send + Sync + 'static,
    ) -> Self {
        Self::with_each(prefixes.into(), Box::new(ToEntry(each)))
    }

    fn with_each(prefixes: Prefixes, each: Box<dyn Each<C>>) -> Self {
        Self {
            selection: Selection::new(prefixes),
            each,
            batches: None,
            allows_writes_ahead: false,
            concurrency: usize::MAX,
            max_failures: 0,
            applies_despite_failures: false,
        }
    }

    /// The work on entries in this request.
    fn entry_work<'a>(&'a self, session: &'a Session<'a>, context: &'a C) -> EntryWork<'a, C> {
        EntryWork::new(&*self.each, session, context, &self.selection, !self.allows_writes_ahead)
    }

    /// Changes the entries, in the order of their keys.
    async fn change_entries(
        &self,
        job: &mut Job<'_>,
        context: &C,
        state: &mut BackfillState,
    ) -> Result<WalkEnd> {
        job.set_phase(Phase::Entries);
        let session = job.session();
        let entries = self.entry_work(session, context);
        let kv = self.selection.scope.kv(session);
        let load = |keys| -> Loading<'_, _> { Box::pin(self.selection.load(&kv, keys)) };
        let begun = std::mem::take(&mut state.begun);
        let work = |operations, key: Key, loaded| {
            let is_repeated = begun.as_ref().is_some_and(|begun| key.name <= *begun);
            entries.change(operations, key, loaded, is_repeated)
        };
        let until = state.until.clone();
        let range = Range { scope: &self.selection.scope, until: until.as_deref() };
        let mut walk = Walk::new(session, range, &state.position).with_concurrency(self.concurrency);
        let mut failed_at = None;
        let result = async {
            while let Some(visited) = walk.next(load, work).await? {
                match visited {
                    Visited::Entry(None) => job.add_done(1),
                    Visited::Entry(Some(failed)) if state.skipped() >= self.max_failures => {
                        let error = first_failure(&failed, state.skipped());
                        failed_at = Some(failed.key);
                        return Err(error.into());
                    }
                    Visited::Entry(Some(failed)) => {
                        state.skip(failed);
                        job.set_failed(state.failed());
                        job.add_done(0);
                    }
                    Visited::EndOfPage => {}
                }
                state.position.set(walk.position());
                state.note_begun(walk.last_begun(), begun.as_deref());
                job.add_entries(entries.take_changed());
                let left = walk.entries_left();
                walk.during(job.save_if_due(state, left)).await?;
            }
            Ok(walk.end())
        }
        .await;
        state.note_begun(walk.last_begun().max(failed_at.as_deref()), begun.as_deref());
        let end = walk.finish(job, result).await?;
        state.is_visited = end == WalkEnd::Complete;
        Ok(end)
    }

    /// Tries the entries again that failed before.
    async fn retry(&self, job: &mut Job<'_>, context: &C, state: &mut BackfillState) -> Result<WalkEnd> {
        job.set_phase(Phase::Retry);
        let session = job.session();
        let entries = self.entry_work(session, context);
        let before = session.operations();
        let mut tried = 0;
        while let Some(failed) = state.to_retry.pop() {
            let each = (session.operations() - before).div_ceil(tried.max(1)).max(1);
            if job.has_advanced() && session.meter.left() < each {
                state.to_retry.push(failed);
                return Ok(WalkEnd::Paused);
            }
            let result = entries.find_and_change(&failed.key).await;
            job.add_entries(entries.take_changed());
            if session.meter.is_overdrawn() {
                state.to_retry.push(failed);
                return Ok(over_budget(job));
            }
            match result {
                Ok(None) => job.add_done(1),
                Ok(Some(again)) if state.skipped() >= self.max_failures => {
                    state.to_retry.push(failed);
                    return Err(first_failure(&again, state.skipped()).into());
                }
                Ok(Some(again)) => state.skip(again),
                Err(error) => {
                    state.to_retry.push(failed);
                    return Err(error);
                }
            }
            tried += 1;
            session.meter.add_entries(1);
            job.note_advance();
            job.set_failed(state.failed());
            job.save_if_due(state, Some(state.to_retry.len())).await?;
        }
        Ok(WalkEnd::Complete)
    }

    /// Goes on with what comes next, as far as the budget allows.
    async fn work(&self, job: &mut Job<'_>, context: &C, state: &mut BackfillState) -> Result<Advance> {
        let mut skipped_earlier = state.failures.len();
        loop {
            if job.session().meter.sample_left() == 0 {
                return Ok(Advance::Paused);
            }
            let end = if !state.to_retry.is_empty() {
                self.retry(job, context, state).await?
            } else if state.until.is_none() {
                let range = Range::all(&self.selection.scope);
                count(job, range, state, |state| (&mut state.until, &mut state.position)).await?
            } else if !state.is_visited {
                match &self.batches {
                    Some(batches) => (batches.change)(self, job, context, state).await?,
                    None => self.change_entries(job, context, state).await?,
                }
            } else if skipped_earlier > 0 {
                state.retry(std::mem::take(&mut skipped_earlier));
                continue;
            } else {
                return self.end(state);
            };
            match end {
                WalkEnd::Complete | WalkEnd::Stopped => {}
                WalkEnd::Paused => return Ok(Advance::Paused),
                WalkEnd::Stuck => {
                    let (what, instead) = match self.batches {
                        Some(_) => ("a single batch needs more than", "make the batches smaller"),
                        None => ("a single entry needs more than", "let it do less for each entry"),
                    };
                    return Ok(Advance::Stuck { what, instead });
                }
            }
        }
    }

    /// Ends with all entries done, except for those that failed.
    fn end(&self, state: &mut BackfillState) -> Result<Advance> {
        let failures = state.take_failures();
        if failures.is_empty() || self.applies_despite_failures {
            return Ok(Advance::Done(failures));
        }
        let text = failures_text(&failures);
        state.failures = failures;
        Err(text.into())
    }
}

impl<C> Resumable<C> for Backfill<C> {
    const KIND: MigrationKind = MigrationKind::Backfill;

    type State = BackfillState;

    fn kind(&self) -> &'static str {
        "backfill"
    }

    fn scope(&self) -> &Scope {
        &self.selection.scope
    }

    fn begin(&self, job: &mut Job<'_>) -> BackfillState {
        job.begin_phase(Phase::Count, None);
        BackfillState::default()
    }

    async fn advance(&self, job: &mut Job<'_>, context: &C, state: &mut BackfillState) -> Result<Advance> {
        let result = self.work(job, context, state).await;
        if result.is_err() {
            state.retry_all();
        }
        result
    }
}

impl<C> fmt::Debug for Backfill<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backfill").field("prefixes", self.selection.scope.prefixes()).finish_non_exhaustive()
    }
}
