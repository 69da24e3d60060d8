//! A state that is gathered from every entry of a prefix and then written.

use std::borrow::Cow;
use std::fmt;

use futures_util::stream::{self, StreamExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Job;
use super::record::Record;
use super::resumable::{Advance, Resumable};
use super::values::{LargeValues, Loaded, load_entries};
use super::walk::{Loading, Position, Range, Visited, Walk, WalkEnd, over_budget};
use crate::error::{BoxError, Result};
use crate::kv::limits::MAX_CONNECTIONS;
use crate::kv::{Key, Metadata, PutOptions, StoreExt};
use crate::report::Phase;
use crate::session::Session;

/// Gathers a state from each entry whose key begins with a prefix, in the order of the keys, and writes what follows from
/// it at the end: an index, a sum.
///
/// Checkpoints keep the state, as JSON of at most 25 MiB. It must come back from JSON as it was. A checkpoint holds the
/// state and the position together in one value of KV: no crash makes an entry count twice or not at all, even if an old
/// checkpoint is read. Entries that KV does not list yet do not count.
///
/// # Example
/// ```
/// use kv_migrations::{Fold, Migration, Runner, FoldOutput, kv::MemoryStore};
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
///     |index, _| index.iter().map(|(customer, mods)| FoldOutput::json(format!("mods_of_{customer}"), mods)).collect(),
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
type Close<C, S> = dyn Fn(&S, &C) -> Result<Vec<FoldOutput>> + Send + Sync;

/// An entry that a [`Fold`] writes.
#[derive(Clone)]
pub struct FoldOutput {
    key: String,
    value: Vec<u8>,
    options: PutOptions,
}

impl FoldOutput {
    /// Text or bytes, without metadata and expiration.
    pub fn new(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), value: value.into(), options: PutOptions::default() }
    }

    /// A value as JSON, without metadata and expiration.
    ///
    /// # Errors
    /// If it cannot be written as JSON: a map needs keys that are text.
    pub fn json(key: impl Into<String>, value: &impl Serialize) -> Result<Self> {
        Ok(Self::new(key, serde_json::to_vec(value)?))
    }

    /// Sets the metadata: at most 1,024 bytes of JSON.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn with_metadata(mut self, metadata: &impl Serialize) -> Result<Self> {
        self.options.metadata = Some(Metadata::new(metadata)?);
        Ok(self)
    }
}

/// Without the value: it is the user's.
impl fmt::Debug for FoldOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FoldOutput").field("key", &self.key).finish_non_exhaustive()
    }
}

impl<C, S> Fold<C, S> {
    /// Begins with `initial()`, calls `each` for one entry after the other, and writes what `close` returns for the final
    /// state: over several requests if necessary.
    ///
    /// `close` may be called again for the same state, and must then return the same.
    pub fn new(
        prefix: impl Into<Cow<'static, str>>,
        initial: impl Fn() -> S + Send + Sync + 'static,
        each: impl Fn(&mut S, &Record, &C) -> Result + Send + Sync + 'static,
        close: impl Fn(&S, &C) -> Result<Vec<FoldOutput>> + Send + Sync + 'static,
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
pub(crate) struct FoldState<S> {
    folded: S,
    position: Position,
    /// The number of outputs that are written, once there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    written: Option<usize>,
}

impl<C, S: Serialize + DeserializeOwned> Fold<C, S> {
    async fn gather(&self, job: &mut Job<'_>, context: &C, state: &mut FoldState<S>) -> Result<WalkEnd> {
        let (session, large_values) = (job.session(), LargeValues::new());
        let load = |keys| -> Loading<'_, _> {
            Box::pin(async move { Ok::<_, BoxError>(load_entries(&session.kv, keys).await?) })
        };
        let work = |key, loaded| read_record(session, &large_values, key, loaded);
        let mut walk = Walk::new(session, Range::all(&self.prefix), &state.position);
        let result = async {
            while let Some(visited) = walk.next(load, work).await? {
                if let Visited::Entry(Some(record)) = visited {
                    (self.each)(&mut state.folded, &record, context)
                        .map_err(|error| format!("at the entry `{}`: {error}", record.name()))?;
                    job.add_done(1);
                }
                state.position.set(walk.position());
                job.save_if_due(state, walk.entries_left()).await?;
            }
            Ok(walk.end())
        }
        .await;
        walk.finish(job, result).await
    }

    async fn write(&self, job: &mut Job<'_>, context: &C, state: &mut FoldState<S>) -> Result<WalkEnd> {
        let mut outputs = (self.close)(&state.folded, context)?;
        // In an order that does not depend on how this request iterated over a map.
        outputs.sort_by(|one, other| one.key.cmp(&other.key));
        if let Some((twice, _)) =
            outputs.iter().zip(outputs.iter().skip(1)).find(|(one, next)| one.key == next.key)
        {
            return Err(format!("the key `{}` would be written twice", twice.key).into());
        }
        let done = state.written.unwrap_or(0);
        if done == 0 {
            job.begin_phase(Phase::Write, Some(outputs.len() as u64));
        }
        let session = job.session();
        let store = session.kv.store();
        let mut is_first = true;
        let rest: Vec<&FoldOutput> = outputs.iter().skip(done).collect();
        for some in rest.chunks(MAX_CONNECTIONS) {
            if !is_first && session.meter.left() < MAX_CONNECTIONS as u64 {
                return Ok(WalkEnd::Paused);
            }
            let puts = some.iter().map(|output| store.put(&output.key, &output.value, &output.options));
            let results: Vec<_> = stream::iter(puts).buffered(MAX_CONNECTIONS).collect().await;
            for result in results {
                match result {
                    Ok(()) => {
                        is_first = false;
                        state.written = Some(state.written.unwrap_or(0) + 1);
                        job.add_done(1);
                    }
                    Err(_) if session.meter.is_overdrawn() => return Ok(over_budget(job)),
                    Err(error) => return Err(error.into()),
                }
            }
            job.save_if_due(state, Some(outputs.len() - state.written.unwrap_or(0))).await?;
        }
        Ok(WalkEnd::Complete)
    }
}

/// The entry with its value; `None` if it was deleted in the meantime.
async fn read_record(
    session: &Session<'_>,
    large_values: &LargeValues,
    key: Key,
    loaded: Loaded,
) -> Result<Option<Record>> {
    let (kv, name) = (&session.kv, key.name.clone());
    let value = large_values.with_value(kv, &name, loaded, async |value| Ok::<_, BoxError>(value)).await?;
    Ok(value.map(|value| Record::new(kv, key, value)))
}

impl<C, S: Serialize + DeserializeOwned> Resumable<C> for Fold<C, S> {
    type State = FoldState<S>;

    fn name(&self) -> String {
        format!("fold {}", self.prefix)
    }

    fn begin(&self, job: &mut Job<'_>) -> FoldState<S> {
        job.begin_phase(Phase::Entries, None);
        FoldState { folded: (self.initial)(), position: Position::default(), written: None }
    }

    async fn advance(&self, job: &mut Job<'_>, context: &C, state: &mut FoldState<S>) -> Result<Advance> {
        let mut end = match state.written {
            None => self.gather(job, context, state).await?,
            Some(_) => WalkEnd::Complete,
        };
        if end == WalkEnd::Complete {
            state.written.get_or_insert(0);
            end = self.write(job, context, state).await?;
        }
        Ok(match end {
            WalkEnd::Complete | WalkEnd::Stopped => Advance::Done(Vec::new()),
            WalkEnd::Paused => Advance::Paused,
            WalkEnd::Stuck => {
                Advance::Stuck { what: "not one step could be made within", instead: "spend less before it" }
            }
        })
    }
}

impl<C, S> fmt::Debug for Fold<C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fold").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
