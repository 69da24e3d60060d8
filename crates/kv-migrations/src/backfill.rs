//! A change to every entry of a prefix, over as many requests as it takes.

use std::borrow::Cow;
use std::fmt;
use std::ops::ControlFlow;

use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};

use crate::job::Job;
use crate::kv::{Key, Kv, KvError, KvErrorKind};
use crate::migration::Result;
use crate::record::Record;
use crate::report::FailedEntry;
use crate::resumable::{Advance, Resumable};
use crate::values::{Hall, Loaded, load_entries};
use crate::walk::{Position, Range, Walked, go_through, walk};

/// A change that is made to each entry whose key begins with a prefix.
///
/// It goes on until there are no more keys, over as many requests as the [`Budget`](crate::Budget) makes of it, each
/// from where the one before left off. Values are read 100 at a time, and several entries are worked on at once. How
/// far it has got is written into the marker every two seconds at most, and at the end of each request; what is cut
/// off repeats the entries since then. So the change must do no harm the second time.
///
/// Keys are gone through in the order of their bytes. Those that are written meanwhile behind the place that it has
/// reached are not seen. Markers are left out: all keys that begin with `migration_`, unless the prefix does, and then
/// the service's own.
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
/// # futures_util::FutureExt::now_or_never(example()).unwrap().unwrap();
/// ```
pub struct Backfill<C = ()> {
    prefix: Cow<'static, str>,
    each: Box<dyn Each<C>>,
    is_counted: bool,
    reads_singly: bool,
    most_failures: usize,
    applies_despite_failures: bool,
}

/// The most entries that can be passed over.
const MOST_FAILURES: usize = 1_000;

impl<C> Backfill<C> {
    /// `each` is made to each entry whose key begins with `prefix`: `async |kv, record, context| { …; Ok(()) }`.
    ///
    /// The first entry at which it returns an error fails the migration. The next run goes on with that entry.
    pub fn new(
        prefix: impl Into<Cow<'static, str>>,
        each: impl AsyncFn(&Kv, &Record, &C) -> Result + Send + Sync + 'static,
    ) -> Self {
        Self {
            prefix: prefix.into(),
            each: Box::new(each),
            is_counted: false,
            reads_singly: false,
            most_failures: 0,
            applies_despite_failures: false,
        }
    }

    /// The same, with the entries counted before, so that its progress has a total: one operation more for every
    /// 1,000.
    #[must_use]
    pub fn counted(mut self) -> Self {
        self.is_counted = true;
        self
    }

    /// The same, with every value read by itself, byte for byte and together with its metadata: one operation for
    /// each, not for 100. For values that can begin with a byte order mark that matters.
    #[must_use]
    pub fn reading_singly(mut self) -> Self {
        self.reads_singly = true;
        self
    }

    /// The same, passing over as many entries as this, 1,000 at most, that fail. One that fails since KV refused an
    /// operation for a moment (429, 5xx) is not passed over: the next run goes on with it.
    ///
    /// When all others are done, the migration fails with the list of those; the next run tries them again, and
    /// only them.
    #[must_use]
    pub fn skipping_failures(mut self, most: usize) -> Self {
        self.most_failures = most.min(MOST_FAILURES);
        self
    }

    /// The same, applied although entries failed and were passed over: they are reported, and never tried again.
    #[must_use]
    pub fn applied_despite_failures(mut self) -> Self {
        self.applies_despite_failures = true;
        self
    }

    /// The entries, one after the other as they are listed.
    async fn entries(&self, job: &Job<'_>, context: &C, state: &mut State) -> Result<Walked> {
        let (kv, hall) = (job.kv(), Hall::new());
        let load = async |keys: Vec<Key>| {
            if self.reads_singly {
                return Ok(keys.into_iter().map(|key| (key, Loaded::Unread)).collect());
            }
            Ok(load_entries(kv, keys).await?)
        };
        let work = async |key: Key, loaded: Loaded| {
            let name = key.name.clone();
            let change = async |value: Option<Vec<u8>>| match value {
                // It was deleted meanwhile.
                None => Ok(()),
                Some(value) => self.each.run(kv, &Record::new(kv, key, value), context).await,
            };
            let result = hall.with_value(kv, &name, loaded, change).await;
            if job.is_overdrawn() {
                // Perhaps it was refused an operation, whatever it made of that: it is not done.
                return Err("the budget is used up".into());
            }
            match result {
                // That is no failure of the entry.
                Err(error) if is_of_kv(&*error) => Err(format!("at the entry `{name}`: {error}").into()),
                Err(error) => Ok(Some(FailedEntry::new(name, &*error))),
                Ok(()) => Ok(None),
            }
        };
        let position = state.position.clone();
        walk(job, Range::all(&self.prefix), position, load, work, async |result, position| {
            match result {
                Some(Some(failed)) if state.failures.len() >= self.most_failures => {
                    return Err(first_failure(&failed, state.failures.len()).into());
                }
                Some(Some(failed)) => {
                    state.failures.push(failed);
                    job.set_failed(state.failures.len());
                    job.add_done(0);
                }
                Some(None) => job.add_done(1),
                None => {}
            }
            state.position = position;
            if job.is_checkpoint_due() {
                job.save(state).await?;
            }
            Ok(ControlFlow::Continue(()))
        })
        .await
    }

    /// Those that failed, once more.
    async fn retry(&self, job: &Job<'_>, context: &C, state: &mut State) -> Result<Walked> {
        let before = job.operations();
        let mut tried = 0;
        while let Some(failed) = state.to_retry.pop() {
            let each = (job.operations() - before).div_ceil(tried.max(1));
            if tried > 0 && !job.can_afford(each) {
                state.to_retry.push(failed);
                return Ok(Walked::Paused);
            }
            let result = self.once_more(job.kv(), &failed.key, context).await;
            if job.is_overdrawn() {
                state.to_retry.push(failed);
                return Ok(Walked::over_budget(job));
            }
            tried += 1;
            job.note_step();
            match result {
                Ok(()) => job.add_done(1),
                Err(error) => state.failures.push(FailedEntry::new(failed.key, &*error)),
            }
            job.set_failed(state.failures.len() + state.to_retry.len());
            if job.is_checkpoint_due() {
                job.save(state).await?;
            }
        }
        Ok(Walked::All)
    }

    async fn once_more(&self, kv: &Kv, name: &str, context: &C) -> Result {
        let Some(key) = kv.find(name).await? else { return Ok(()) };
        let Some(value) = kv.bytes(name).await? else { return Ok(()) };
        self.each.run(kv, &Record::new(kv, key, value), context).await
    }

    /// With all entries done, but for those that failed.
    fn end(&self, state: &mut State) -> Result<Advance> {
        let failures = std::mem::take(&mut state.failures);
        if failures.is_empty() || self.applies_despite_failures {
            return Ok(Advance::Done(failures));
        }
        let error = failures_text(&failures);
        state.phase = Phase::Retry;
        state.to_retry = failures.into_iter().rev().collect();
        Err(error.into())
    }
}

impl<C> Resumable<C> for Backfill<C> {
    type State = State;

    fn name(&self) -> String {
        format!("backfill {}", self.prefix)
    }

    fn begin(&self, job: &Job<'_>) -> State {
        let phase = if self.is_counted { Phase::Count } else { Phase::Entries };
        job.begin_phase(if self.is_counted { "count" } else { "entries" }, None);
        State { phase, ..State::default() }
    }

    async fn advance(&self, job: &Job<'_>, context: &C, state: &mut State) -> Result<Advance> {
        if state.phase == Phase::Retry {
            job.begin_phase("retry", Some(state.to_retry.len() as u64));
        }
        loop {
            let walked = match state.phase {
                Phase::Count => count(job, &self.prefix, &mut state.position).await?,
                Phase::Entries => self.entries(job, context, state).await?,
                Phase::Retry => self.retry(job, context, state).await?,
            };
            match walked {
                Walked::Paused => return Ok(Advance::Paused),
                Walked::Stuck => {
                    let instead = "let it do less for each entry";
                    return Ok(Advance::Stuck { what: "a single entry needs more than", instead });
                }
                Walked::All | Walked::Stopped if state.phase == Phase::Count => {
                    (state.phase, state.position) = (Phase::Entries, Position::default());
                    job.begin_phase("entries", Some(job.done()));
                }
                Walked::All | Walked::Stopped => return self.end(state),
            }
        }
    }
}

/// Whether KV failed for a moment, or the run was given up.
fn is_of_kv(error: &(dyn std::error::Error + 'static)) -> bool {
    let error = error.downcast_ref::<KvError>();
    error.is_some_and(|error| error.is_retryable() || *error.kind() == KvErrorKind::Superseded)
}

fn first_failure(failed: &FailedEntry, before: usize) -> String {
    let FailedEntry { key, reason } = failed;
    match before {
        0 => format!("at the entry `{key}`: {reason}"),
        _ => format!("at the entry `{key}`, after {before} others that were passed over: {reason}"),
    }
}

/// What a checkpoint keeps.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    phase: Phase,
    position: Position,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    failures: Vec<FailedEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    to_retry: Vec<FailedEntry>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    Count,
    #[default]
    Entries,
    Retry,
}

/// Counts the keys behind a position.
async fn count(job: &Job<'_>, prefix: &str, position: &mut Position) -> Result<Walked> {
    go_through(job, Range::all(prefix), position.clone(), |keys, end| {
        job.add_done(keys.len() as u64);
        position.clone_from(end);
        Ok(ControlFlow::Continue(()))
    })
    .await
}

/// Which entries failed, the first of them by name.
fn failures_text(failures: &[FailedEntry]) -> String {
    const NAMED: usize = 10;
    let number = failures.len();
    let named: Vec<String> =
        failures.iter().take(NAMED).map(|failed| format!("`{}`: {}", failed.key, failed.reason)).collect();
    let more = if number > NAMED { format!("; and {} more", number - NAMED) } else { String::new() };
    format!(
        "{number} of the entries failed and were passed over: {}{more}. All others are done; the next run tries these again",
        named.join("; ")
    )
}

/// What is done to an entry: the object-safe face of an async closure.
trait Each<C>: Send + Sync {
    fn run<'a>(&'a self, kv: &'a Kv, record: &'a Record, context: &'a C) -> LocalBoxFuture<'a, Result>;
}

impl<C, F: AsyncFn(&Kv, &Record, &C) -> Result + Send + Sync> Each<C> for F {
    fn run<'a>(&'a self, kv: &'a Kv, record: &'a Record, context: &'a C) -> LocalBoxFuture<'a, Result> {
        Box::pin(self(kv, record, context))
    }
}

impl<C> fmt::Debug for Backfill<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backfill").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
