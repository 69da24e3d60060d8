//! One pass over the entries of a prefix: what the phases of a re-key that read entries share.

use std::time::Duration;

use super::found::Found;
use super::plan::{Plan, load_existing, plan_all};
use super::relocation::{BoxRecord, Relocation};
use super::state::RekeyState;
use super::writer::CopyWriter;
use crate::change::Job;
use crate::change::values::{LargeValues, Loaded};
use crate::change::walk::{Loading, Range, Visited, Walk, WalkEnd};
use crate::error::Result;
use crate::future::BoxFuture;
use crate::kv::{EntryOperations, Key, Kv, KvError, PAUSES};
use crate::session::Session;

/// What the record of changed copies takes before they are written: a checkpoint, and a look at their new keys.
const RECORDING: u64 = 4;

/// What a phase does with entries. A trait object, so that the code of a pass is in the wasm once.
pub(super) trait Pass {
    fn relocation(&self) -> &Relocation<'_>;

    /// Plans what becomes of the entries of some keys, and begins to read what their plans need.
    fn load<'a>(
        &'a self,
        session: &'a Session<'a>,
        keys: Vec<Key>,
        state: &mut RekeyState,
    ) -> Loading<'a, Plan> {
        let mut plan = |key: &Key| Plan::of_entry(self.relocation(), session, key, state);
        load_existing(&self.relocation().new, plan_all(keys, &mut plan))
    }

    /// The plan of an entry that moves to this key and may have changed since it was read.
    fn plan_again(&self, new: String) -> Plan {
        Plan::Moves { new, existing: Loaded::Unread }
    }

    /// Works on an entry, beside others.
    fn work<'a>(&'a self, tools: Tools<'a>, key: Key, plan: Plan) -> BoxFuture<'a, Result<Found>>;
}

/// What the work on an entry uses.
pub(super) struct Tools<'a> {
    pub(super) session: &'a Session<'a>,
    /// The namespaces of the old and the new key.
    pub(super) old: Kv,
    pub(super) new: Kv,
    pub(super) large_values: &'a LargeValues,
    pub(super) writer: &'a CopyWriter,
}

impl Tools<'_> {
    /// Whether there is nothing at a new key.
    pub(super) async fn is_missing(&self, new: &str, existing: Loaded) -> Result<bool> {
        let is_none = async |value: Option<Vec<u8>>| Ok::<_, KvError>(value.is_none());
        Ok(self.large_values.with_value(&self.new, new, existing, is_none).await?)
    }

    /// Whether an entry that was not read gets another key by now, where the mapping sees values.
    pub(super) async fn recheck(
        &self,
        relocation: &Relocation<'_>,
        key: &Key,
        planned: &str,
        is_large: bool,
    ) -> Result<Option<BoxRecord>> {
        if relocation.by_value.is_none() {
            return Ok(None);
        }
        let read = async {
            let Some(mut entry) = self.old.get(&key.name).await? else { return Ok(None) };
            relocation.recheck(self.session, key, &mut entry, planned)
        };
        if is_large { self.large_values.alone(read).await } else { read.await }
    }
}

/// Goes over all entries of the phase, from its position on. Stopped when the batch is full.
pub(super) async fn run(pass: &dyn Pass, job: &mut Job<'_>, state: &mut RekeyState) -> Result<WalkEnd> {
    let (session, relocation, large_values) = (job.session(), pass.relocation(), LargeValues::new());
    let writer = CopyWriter::new(state.key, relocation.new.clone());
    let (old, new) = (relocation.old.clone(), relocation.new.clone());
    let tools = Tools { session, old, new, large_values: &large_values, writer: &writer };
    let work = |operations, key, plan| work_on(pass, &tools, operations, key, plan);
    let until = state.until();
    let range = Range { scope: relocation.mapping.scope(), until: until.as_deref() };
    let mut walk = Walk::new(session, range, &state.position);
    let (mut is_spent, mut has_written) = (false, false);
    let result = async {
        while let Some(visited) = walk.next(|keys| pass.load(session, keys, state), work).await? {
            if let Visited::Entry(found) = visited {
                found.record(relocation, job, state)?;
            }
            state.position.set(walk.position());
            state.note_copies(writer.take_made());
            if state.is_batch_full(walk.last_begun()) {
                walk.stop();
            }
            let left = walk.entries_left();
            if let Some(changing) = &relocation.changing {
                // The first one at once, and what a checkpoint would pass over: the request may be cut off.
                let is_due = !has_written || writer.is_full() || job.is_checkpoint_due(left);
                if is_due && writer.prepared() > 0 {
                    walk.during(changing.write(job, state, &writer)).await?;
                    has_written = true;
                }
                // To write what is prepared, and to record it before.
                let prepared = (writer.prepared() + walk.working_entries()) as u64;
                if session.meter.left() < 2 * prepared + RECORDING {
                    is_spent = true;
                    walk.stop();
                }
            }
            walk.during(job.save_if_due(state, left)).await?;
        }
        Ok(walk.end())
    }
    .await;
    let mut end = walk.finish(job, result).await;
    state.note_copies(writer.take_made());
    if let Some(changing) = &relocation.changing {
        end = changing.finish(end, job, state, &writer).await;
    }
    match end {
        // The next request goes on.
        Ok(WalkEnd::Stopped) if is_spent => Ok(WalkEnd::Paused),
        end => end,
    }
}

/// Works on an entry. If KV refuses a write with 429, somebody else wrote that key a moment ago, perhaps after it was read:
/// then both keys are looked at again, instead of written over.
async fn work_on(
    pass: &dyn Pass,
    tools: &Tools<'_>,
    operations: EntryOperations,
    mut key: Key,
    mut plan: Plan,
) -> Result<Found> {
    let name = key.name.clone();
    let new = plan.new_key().map(str::to_owned);
    let own_keys = new.as_ref().map(|new| [name.as_str(), new]);
    let mut pauses = PAUSES.iter();
    loop {
        let pause = pauses.next().zip(own_keys.as_ref());
        let attempt = operations.begin_attempt(pause.map_or(&[], |(_, own_keys)| own_keys));
        let (old, new) = (tools.old.for_entry(attempt.clone()), tools.new.for_entry(attempt));
        let result = pass.work(Tools { old: old.clone(), new, ..*tools }, key, plan).await;
        let Some((seconds, [_, new])) = pause.filter(|_| operations.has_conflict()) else { return result };
        tools.session.sleep(Duration::from_secs(*seconds)).await;
        key = match old.find(&name).await? {
            None => return Ok(Found::Nothing),
            Some(found) => found,
        };
        plan = pass.plan_again((*new).to_owned());
    }
}
