//! A `close` that reads other keys. It is called once: its outputs are kept in the checkpoint before the first one is
//! written, because what it would read after that may be what the fold has written itself.

use std::collections::VecDeque;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::gather::{Closing, FoldState, Gathering, advance};
use super::output::{FoldOutput, Output, in_order};
use super::write::{first_error, next_batch, operations, write_all, written};
use crate::change::Job;
use crate::change::resumable::Advance;
use crate::change::walk::WalkEnd;
use crate::error::Result;
use crate::future::BoxFuture;
use crate::kv::{Answer, EntryOperations, Kv, KvError, Request, Store};
use crate::report::Phase;

/// What a fold writes, from its state and from what it reads.
pub(super) struct Once<C, S>(pub(super) Box<dyn Close<C, S>>);

/// An async closure behind a trait object.
pub(super) trait Close<C, S>: Send + Sync {
    fn run<'a>(&'a self, kv: &'a Kv, state: &'a S, context: &'a C) -> BoxFuture<'a, Result<Vec<FoldOutput>>>;
}

impl<C, S, F: AsyncFn(&Kv, &S, &C) -> Result<Vec<FoldOutput>> + Send + Sync> Close<C, S> for F {
    fn run<'a>(&'a self, kv: &'a Kv, state: &'a S, context: &'a C) -> BoxFuture<'a, Result<Vec<FoldOutput>>> {
        Box::pin(self(kv, state, context))
    }
}

/// As many operations as any `close` may make: how many it makes is not known before.
const MAX_READS: usize = 1_000;

/// The outputs that are still to be written.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    /// In the order of their keys. `None` until they are known.
    outputs: Option<VecDeque<Output>>,
}

type State<S> = FoldState<S, Kept>;

impl<C, S: Serialize + DeserializeOwned> Closing<C, S> for Once<C, S> {
    const KIND: &'static str = "merging fold";
    type Writing = Kept;

    fn begin(_: &Job<'_>) -> Kept {
        Kept { outputs: None }
    }

    async fn write(
        &self,
        gathering: &Gathering<C, S>,
        job: &mut Job<'_>,
        context: &C,
        state: &mut State<S>,
    ) -> Result<Advance> {
        if state.writing.as_ref().is_some_and(|kept| kept.outputs.is_none()) {
            if job.has_advanced() {
                // A request that is cut off amid what `close` reads keeps what was gathered.
                job.save_before(state, MAX_READS).await?;
            }
            let outputs = match self.close(job, context, &state.folded).await? {
                Ok(outputs) => outputs,
                Err(advance) => return Ok(advance),
            };
            job.begin_phase(Phase::Write, Some(outputs.len() as u64));
            if !outputs.is_empty() {
                // From now on the outputs stand for the state.
                state.folded = (gathering.initial)();
                state.writing = Some(Kept { outputs: Some(outputs.into()) });
                job.save_midway(state).await?;
                job.note_advance();
            }
        }
        Ok(advance(write_outputs(job, state).await?))
    }
}

impl<C, S> Once<C, S> {
    /// Asks for the outputs. An `Err` says how the request ends where they do not fit into its budget.
    async fn close(&self, job: &Job<'_>, context: &C, folded: &S) -> Result<Result<Vec<Output>, Advance>> {
        let session = job.session();
        if job.has_advanced() && session.meter.left() == 0 {
            return Ok(Err(Advance::Paused));
        }
        let has_refused = Arc::new(AtomicBool::new(false));
        let kv = session.kv.for_entry_in(EntryOperations::default(), |store| {
            Arc::new(ReadOnly { store, has_refused: has_refused.clone() })
        });
        let result = self.0.run(&kv, folded, context).await;
        // Whatever `close` made of it, an operation was refused.
        if session.meter.is_overdrawn() {
            let (what, instead) = ("its closing step needs more than", "read less in `close`");
            return Ok(Err(if job.has_advanced() {
                Advance::Paused
            } else {
                Advance::Stuck { what, instead }
            }));
        }
        let outputs = in_order(result?)?;
        if has_refused.load(Ordering::Relaxed) {
            return Err(format!("`close` wrote through `kv`. {READ_ONLY}").into());
        }
        let refused = outputs.iter().find_map(|output| Some((&output.key, output.refusal()?)));
        if let Some((key, refusal)) = refused {
            return Err(format!(
                "the output `{key}` cannot be written: {refusal}. Nothing was written. Mend `close`, and migrate again"
            )
            .into());
        }
        Ok(Ok(outputs))
    }
}

async fn write_outputs<S: Serialize>(job: &mut Job<'_>, state: &mut State<S>) -> Result<WalkEnd> {
    let mut is_first = true;
    while let Some(outputs) = state.writing.as_mut().and_then(|kept| kept.outputs.as_mut()) {
        let some = next_batch(outputs.make_contiguous(), is_first);
        if some.is_empty() {
            break;
        }
        if !is_first && job.session().meter.left() < operations(some) {
            return Ok(WalkEnd::Paused);
        }
        let results = write_all(job, some).await;
        let written = written(&results);
        outputs.drain(..written);
        let left = outputs.len();
        job.add_done(written as u64);
        is_first &= written == 0;
        if let Some(ended) = first_error(job, results) {
            return ended;
        }
        job.save_if_due(state, Some(left)).await?;
    }
    Ok(WalkEnd::Complete)
}

/// Why the namespace refuses writes of `close`, and what to do.
const READ_ONLY: &str = "The closing step of a fold only reads, so that it can be repeated until its outputs are known: \
                         return a `FoldOutput` for each write";

/// The namespace as `close` sees it.
struct ReadOnly {
    store: Arc<dyn Store>,
    has_refused: Arc<AtomicBool>,
}

impl Store for ReadOnly {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        match request {
            Request::Put { .. } | Request::Delete { .. } => {
                self.has_refused.store(true, Ordering::Relaxed);
                Box::pin(ready(Err(request.refused(None, format!("it was not sent. {READ_ONLY}")))))
            }
            _ => self.store.call(request),
        }
    }
}
