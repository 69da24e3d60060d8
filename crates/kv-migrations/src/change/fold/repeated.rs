//! A `close` that is called again by each request that writes: it sees the state alone, and returns the same each time.

use futures_util::stream::{self, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::gather::{Closing, FoldState, Gathering, advance};
use super::output::{FoldOutput, Output, entry_hashes, in_order};
use super::write::{first_error, next_batch, operations, write_all, written};
use super::writing::Writing;
use crate::change::Job;
use crate::change::hash::HashKey;
use crate::change::resumable::Advance;
use crate::change::walk::WalkEnd;
use crate::error::Result;
use crate::kv::limits::MAX_CONNECTIONS;
use crate::kv::{Kv, KvError};
use crate::report::Phase;

/// What a fold writes, from its state alone.
pub(super) struct Repeated<C, S>(pub(super) Box<Close<C, S>>);

pub(super) type Close<C, S> = dyn Fn(&S, &C) -> Result<Vec<FoldOutput>> + Send + Sync;

type State<S> = FoldState<S, Writing>;

impl<C, S: Serialize + DeserializeOwned> Closing<C, S> for Repeated<C, S> {
    const KIND: &'static str = "fold";
    type Writing = Writing;

    fn begin(job: &Job<'_>) -> Writing {
        Writing::new(HashKey::new(&job.session().random))
    }

    async fn write(
        &self,
        _: &Gathering<C, S>,
        job: &mut Job<'_>,
        context: &C,
        state: &mut State<S>,
    ) -> Result<Advance> {
        let outputs = in_order((self.0)(&state.folded, context)?)?;
        let end = match write_outputs(job, &outputs, state).await? {
            WalkEnd::Complete => withdraw(job, &outputs, state).await?,
            end => end,
        };
        Ok(advance(end))
    }
}

async fn write_outputs<S: Serialize>(
    job: &mut Job<'_>,
    outputs: &[Output],
    state: &mut State<S>,
) -> Result<WalkEnd> {
    let Some(writing) = &mut state.writing else { return Ok(WalkEnd::Complete) };
    writing.resume(outputs, job.id())?;
    let done = writing.done;
    if done == 0 {
        job.begin_phase(Phase::Write, Some(outputs.len() as u64));
        // Several are written at once: a request that is cut off amid them keeps what was gathered.
        job.save_before(state, outputs.len()).await?;
    }
    let mut is_first = true;
    while let Some(writing) = &mut state.writing {
        let some = next_batch(outputs.get(writing.done..).unwrap_or_default(), is_first);
        if some.is_empty() {
            break;
        }
        if !is_first && job.session().meter.left() < operations(some) {
            return Ok(WalkEnd::Paused);
        }
        let results = write_all(job, some).await;
        writing.note(some, &results);
        let left = outputs.len().saturating_sub(writing.done);
        let written = written(&results);
        job.add_done(written as u64);
        is_first &= written == 0;
        if let Some(ended) = first_error(job, results) {
            return ended;
        }
        job.save_if_due(state, Some(left)).await?;
    }
    Ok(WalkEnd::Complete)
}

/// Deletes what was written and is no longer produced, where nothing else was written since.
async fn withdraw<S: Serialize>(
    job: &mut Job<'_>,
    outputs: &[Output],
    state: &mut State<S>,
) -> Result<WalkEnd> {
    let session = job.session();
    let mut is_first = true;
    while let Some(writing) = &mut state.writing {
        let stale = writing.stale(outputs, MAX_CONNECTIONS);
        if stale.is_empty() {
            break;
        }
        // A read and a deletion each.
        if !is_first && session.meter.left() < 2 * MAX_CONNECTIONS as u64 {
            return Ok(WalkEnd::Paused);
        }
        is_first = false;
        let key = writing.key;
        let deletions = stale.iter().map(|(name, hashes)| delete_if_ours(&session.kv, key, name, hashes));
        let results: Vec<_> = stream::iter(deletions).buffered(MAX_CONNECTIONS).collect().await;
        for ((name, _), result) in stale.iter().zip(&results) {
            if result.is_ok() {
                writing.forget(name);
                job.note_advance();
            }
        }
        if let Some(ended) = first_error(job, results) {
            return ended;
        }
        job.save_if_due(state, None).await?;
    }
    Ok(WalkEnd::Complete)
}

/// Deletes an entry if it is what a fold wrote.
async fn delete_if_ours(kv: &Kv, key: HashKey, name: &str, hashes: &[u64]) -> Result<(), KvError> {
    match kv.get(name).await? {
        Some(entry) if entry_hashes(key, name, &entry).iter().any(|hash| hashes.contains(hash)) => {
            kv.delete(name).await
        }
        _ => Ok(()),
    }
}
