//! Copies that are not the same as their entries: the user's closure, and how they are written.
//!
//! A changed copy cannot be made a second time: it may hold a random nonce, or the time. So what is about to be written is
//! recorded in a checkpoint first, as hashes of what was read and of the copy. Whatever is at a new key after a crash, it is
//! known whether it is a copy of ours. A record whose write KV has not confirmed counts only if that copy is found, with
//! its value, metadata and expiration.

use std::collections::BTreeSet;

use futures_util::stream::{FuturesUnordered, StreamExt};

use super::entry::MovingEntry;
use super::state::RekeyState;
use super::writer::{Changing, CopyWriter, PreparedCopy};
use crate::change::Job;
use crate::change::record::AtEntry;
use crate::change::values::{Loaded, load_values};
use crate::change::walk::{WalkEnd, over_budget};
use crate::error::Result;
use crate::future::BoxFuture;
use crate::kv::{EntryOperations, HighestCost, Kv, KvError, StoreExt};
use crate::sabotage::{self, Defect};

/// How many values are read in one operation.
const CHUNK: usize = 100;

/// The user's closure. A trait object that makes another one, so that only a re-key that changes has the code.
pub(super) trait ChangeFn<C: ?Sized>: Send + Sync {
    fn with<'a>(&'a self, context: &'a C) -> Box<dyn Changing + 'a>;
}

impl<C: ?Sized, F: AsyncFn(MovingEntry, &str, &C) -> Result<MovingEntry> + Send + Sync> ChangeFn<C> for F {
    fn with<'a>(&'a self, context: &'a C) -> Box<dyn Changing + 'a> {
        Box::new(WithContext { change: self, context })
    }
}

/// A closure with its context.
struct WithContext<'a, C: ?Sized, F> {
    change: &'a F,
    context: &'a C,
}

impl<C: ?Sized, F: AsyncFn(MovingEntry, &str, &C) -> Result<MovingEntry>> Changing for WithContext<'_, C, F> {
    fn change<'a>(&'a self, entry: MovingEntry, new: &'a str) -> BoxFuture<'a, Result<MovingEntry>> {
        Box::pin(async move {
            let name = entry.name().to_owned();
            let changed = (self.change)(entry, new, self.context).await;
            changed.map_err(|source| AtEntry { name, source }.into())
        })
    }

    fn write<'a>(
        &'a self,
        job: &'a mut Job<'_>,
        state: &'a mut RekeyState,
        writer: &'a CopyWriter,
    ) -> BoxFuture<'a, Result> {
        Box::pin(write(job, state, writer))
    }

    fn finish<'a>(
        &'a self,
        end: Result<WalkEnd>,
        job: &'a mut Job<'_>,
        state: &'a mut RekeyState,
        writer: &'a CopyWriter,
    ) -> BoxFuture<'a, Result<WalkEnd>> {
        Box::pin(finish(end, job, state, writer))
    }
}

async fn finish(
    end: Result<WalkEnd>,
    job: &mut Job<'_>,
    state: &mut RekeyState,
    writer: &CopyWriter,
) -> Result<WalkEnd> {
    let session = job.session();
    let written = if session.meter.is_overdrawn() {
        // They are neither recorded nor written: the sweep finds nothing at their new keys.
        state.needs_sweep |= !writer.take_prepared().is_empty();
        Ok(())
    } else {
        write(job, state, writer).await
    };
    match (end, written) {
        (Ok(_), Err(_)) if session.meter.is_overdrawn() => Ok(over_budget(job)),
        (Ok(_), Err(error)) => Err(error),
        (end, _) => end,
    }
}

/// Records the copies that were prepared, and writes them.
async fn write(job: &mut Job<'_>, state: &mut RekeyState, writer: &CopyWriter) -> Result {
    let prepared = writer.take_prepared();
    if prepared.is_empty() {
        return Ok(());
    }
    state.note_copies(prepared.iter().map(|copy| copy.record.clone()).collect());
    if !sabotage::is_on(Defect::UnrecordedCopies) {
        job.save_midway(state).await?;
    }
    let kv = writer.namespace();
    let taken = find_taken(kv, &prepared).await?;
    let (mut writing, mut result) = (FuturesUnordered::new(), Ok(()));
    for copy in prepared {
        // Otherwise the sweep looks at what is there.
        if !taken.contains(&copy.record.new) {
            writing.push(async move {
                let written = write_one(kv, &copy).await;
                (copy.record, written)
            });
        }
    }
    while let Some((record, written)) = writing.next().await {
        match written {
            Ok(Written::Yes) => state.confirm(&record),
            Ok(Written::Perhaps) => {}
            Err(error) if error.is_outage() => result = Err(error.into()),
            // KV does not take what the closure has made of this entry.
            Err(error) => result = Err(AtEntry { name: record.old, source: error.into() }.into()),
        }
    }
    result
}

/// The new keys that were free when their copies were prepared, and are not any more.
async fn find_taken(kv: &Kv, prepared: &[PreparedCopy]) -> Result<BTreeSet<String>, KvError> {
    let free: Vec<&str> =
        prepared.iter().filter(|copy| copy.must_be_free).map(|copy| copy.record.new.as_str()).collect();
    let mut taken = BTreeSet::new();
    for names in free.chunks(CHUNK) {
        for (name, found) in names.iter().zip(load_values(kv, names).await?) {
            let is_taken = match found {
                Loaded::Missing => false,
                Loaded::Value(_) => true,
                Loaded::Unread | Loaded::Large => kv.bytes(name).await?.is_some(),
            };
            if is_taken {
                taken.insert((*name).to_owned());
            }
        }
    }
    Ok(taken)
}

enum Written {
    Yes,
    /// The new key was written a moment ago: by somebody else, or by an attempt whose answer was lost.
    Perhaps,
}

async fn write_one(kv: &Kv, copy: &PreparedCopy) -> Result<Written, KvError> {
    let new = copy.record.new.as_str();
    let operations = EntryOperations::new(&HighestCost::default()).begin_attempt(&[new]);
    let result = kv.for_entry(operations.clone()).store().put(new, &copy.value, &copy.options).await;
    match result {
        Err(_) if operations.has_conflict() => Ok(Written::Perhaps),
        result => result.map(|()| Written::Yes),
    }
}
