//! A state that is gathered from every entry of a prefix, and then written.

use std::borrow::Cow;
use std::fmt;
use std::ops::ControlFlow;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::{self, StreamExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::change::{Change, Outcome};
use crate::job::{Job, Load};
use crate::kv::limits::MAX_CONNECTIONS;
use crate::kv::{Key, Metadata, PutOptions, StoreExt};
use crate::migration::Result;
use crate::record::Record;
use crate::values::{Hall, Loaded, load_entries};
use crate::walk::{Position, Range, Walked, walk};

/// A state of your own that takes in each entry whose key begins with a prefix, one after the other in the order of
/// their keys, and what is written in the end: an index, a sum.
///
/// The state is kept in the checkpoints, as JSON of at most 25 MiB, and must come back from JSON as it was. Together
/// with the place that it was gathered up to it is one value in KV: no crash makes an entry count twice, or not at all,
/// even if an old checkpoint is read. What KV does not list yet does not count.
///
/// # Example
/// ```
/// use kv_migrations::{Fold, Migration, Runner, Write, kv::MemoryStore};
/// use std::collections::BTreeMap;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// type Index = BTreeMap<String, Vec<String>>;
///
/// let by_customer = Fold::new(
///     "mod_",
///     Index::new,
///     |index: &mut Index, record, _: &()| {
///         let customer = record.text()?.to_owned();
///         index.entry(customer).or_default().push(record.name().to_owned());
///         Ok(())
///     },
///     |index, _| index.iter().map(|(customer, mods)| Write::json(format!("mods_of_{customer}"), mods)).collect(),
/// );
/// let migration = Migration::fold("004_index", "Index all mods by customer", by_customer);
///
/// let store = MemoryStore::new();
/// store.insert("mod_1", "ada");
/// store.insert("mod_2", "ada");
/// Runner::new(store.clone(), "my-service", vec![migration])?.run_pending(&()).await?;
/// assert_eq!(store.value("mods_of_ada").unwrap(), br#"["mod_1","mod_2"]"#);
/// # Ok(())
/// # }
/// # futures_util::FutureExt::now_or_never(example()).unwrap().unwrap();
/// ```
pub struct Fold<C, S> {
    prefix: Cow<'static, str>,
    initial: Box<dyn Fn() -> S + Send + Sync>,
    each: Box<Each<C, S>>,
    close: Box<Close<C, S>>,
}

type Each<C, S> = dyn Fn(&mut S, &Record, &C) -> Result + Send + Sync;
type Close<C, S> = dyn Fn(&S, &C) -> Result<Vec<Write>> + Send + Sync;

/// An entry that a [`Fold`] writes.
#[derive(Clone)]
pub struct Write {
    key: String,
    value: Vec<u8>,
    options: PutOptions,
}

impl Write {
    /// Text or bytes, without metadata, to be kept until they are deleted.
    pub fn new(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), value: value.into(), options: PutOptions::default() }
    }

    /// A value as JSON, likewise.
    ///
    /// # Errors
    /// If it cannot be written as JSON: a map needs keys that are text.
    pub fn json(key: impl Into<String>, value: &impl Serialize) -> Result<Self> {
        Ok(Self::new(key, serde_json::to_vec(value)?))
    }

    /// The same with metadata: at most 1,024 bytes of JSON.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn with_metadata(mut self, metadata: &impl Serialize) -> Result<Self> {
        self.options.metadata = Some(Metadata::new(metadata)?);
        Ok(self)
    }
}

/// Without the value: it is the user's.
impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Write").field("key", &self.key).finish_non_exhaustive()
    }
}

impl<C, S> Fold<C, S> {
    /// Begins with `initial()`, lets `each` take in one entry after the other, and writes what `close` makes of the
    /// state in the end: over several requests, if it must.
    ///
    /// `close` may be called again for the same state, and must then make the same of it.
    pub fn new(
        prefix: impl Into<Cow<'static, str>>,
        initial: impl Fn() -> S + Send + Sync + 'static,
        each: impl Fn(&mut S, &Record, &C) -> Result + Send + Sync + 'static,
        close: impl Fn(&S, &C) -> Result<Vec<Write>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            prefix: prefix.into(),
            initial: Box::new(initial),
            each: Box::new(each),
            close: Box::new(close),
        }
    }
}

/// What a checkpoint keeps.
#[derive(Serialize, Deserialize)]
struct State<S> {
    folded: S,
    position: Position,
    /// How many of the writes are made, once there are some to make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    written: Option<usize>,
}

impl<C, S: Serialize + DeserializeOwned> Fold<C, S> {
    async fn gather(&self, job: &Job<'_>, context: &C, state: &mut State<S>) -> Result<Walked> {
        let (kv, hall) = (job.kv(), Hall::new());
        let load = async |keys: Vec<Key>| Ok(load_entries(kv, keys).await?);
        let work = async |key: Key, loaded: Loaded| {
            let name = key.name.clone();
            let value = hall.with_value(kv, &name, loaded, async |value| Ok(value)).await;
            value.map(|value| value.map(|value| Record::new(kv, key, value)))
        };
        let position = state.position.clone();
        walk(job, Range::all(&self.prefix), position, load, work, async |record, position| {
            if let Some(record) = record.flatten() {
                (self.each)(&mut state.folded, &record, context)
                    .map_err(|error| format!("at the entry `{}`: {error}", record.name()))?;
                job.add_done(1);
            }
            state.position = position;
            if job.is_checkpoint_due() {
                job.save(state).await?;
            }
            Ok(ControlFlow::Continue(()))
        })
        .await
    }

    async fn write(&self, job: &Job<'_>, context: &C, state: &mut State<S>) -> Result<Walked> {
        let mut writes = (self.close)(&state.folded, context)?;
        // In an order that does not depend on how a map was gone through in this request.
        writes.sort_by(|one, other| one.key.cmp(&other.key));
        if let Some(twice) = writes.iter().zip(writes.iter().skip(1)).find(|(one, next)| one.key == next.key)
        {
            return Err(format!("the key `{}` is to be written twice", twice.0.key).into());
        }
        let done = state.written.unwrap_or(0);
        if done == 0 {
            job.begin_phase("write", Some(writes.len() as u64));
        }
        let store = job.kv().store();
        let mut is_first = true;
        let rest: Vec<&Write> = writes.iter().skip(done).collect();
        for some in rest.chunks(MAX_CONNECTIONS) {
            if !is_first && !job.can_afford(MAX_CONNECTIONS as u64) {
                return Ok(Walked::Paused);
            }
            let puts = some.iter().map(|write| store.put(&write.key, &write.value, &write.options));
            let results: Vec<_> = stream::iter(puts).buffered(MAX_CONNECTIONS).collect().await;
            for result in results {
                match result {
                    Ok(()) => {
                        is_first = false;
                        state.written = Some(state.written.unwrap_or(0) + 1);
                        job.add_done(1);
                    }
                    Err(_) if job.is_overdrawn() => {
                        return Ok(Walked::over_budget(job));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            if job.is_checkpoint_due() {
                job.save(state).await?;
            }
        }
        Ok(Walked::All)
    }

    async fn advance(&self, job: &Job<'_>, context: &C, state: &mut State<S>) -> Result<Outcome> {
        let mut walked = match state.written {
            None => self.gather(job, context, state).await?,
            Some(_) => Walked::All,
        };
        if let Walked::All = walked {
            state.written.get_or_insert(0);
            walked = self.write(job, context, state).await?;
        }
        match walked {
            Walked::All | Walked::Stopped => Ok(Outcome::Done(Vec::new())),
            Walked::Paused => {
                job.save(state).await?;
                Ok(Outcome::Paused { retry_after: Duration::from_secs(1) })
            }
            Walked::Stuck => {
                let reason = job.over_budget("not one step could be made within", "spend less before it");
                Ok(Outcome::OverBudget { reason })
            }
        }
    }
}

impl<C, S: Serialize + DeserializeOwned> Change<C> for Fold<C, S> {
    fn run<'a>(&'a self, job: &'a Job<'a>, context: &'a C) -> LocalBoxFuture<'a, Result<Outcome>> {
        Box::pin(async move {
            let mut state = match job.load(format!("fold {}", self.prefix)).await? {
                Load::AlreadyApplied => return Ok(Outcome::AlreadyApplied),
                Load::From(state) => state,
                Load::Fresh => {
                    job.begin_phase("entries", None);
                    let state =
                        State { folded: (self.initial)(), position: Position::default(), written: None };
                    job.announce(&state).await?;
                    state
                }
            };
            let result = self.advance(job, context, &mut state).await;
            if result.is_err() {
                job.stash(&state);
            }
            result
        })
    }

    fn is_resumable(&self) -> bool {
        true
    }
}

impl<C, S> fmt::Debug for Fold<C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fold").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
