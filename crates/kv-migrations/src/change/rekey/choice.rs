//! Where several old entries have one new key: which of them gets it, and what becomes of the others.
//!
//! The survey only notes the new keys, as hashes. Then the entries of each are gathered, read and compared, before anything
//! is written. The losers are deleted at the end, once all that moves is moved and verified.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::collision::Collision;
use super::copies::{Copies, CopyRecord, fingerprint};
use super::found::Found;
use super::mapping::Target;
use super::relocation::{Relocation, leave};
use super::state::{RekeyPhase, RekeyState};
use crate::change::Job;
use crate::change::record::{AtEntry, Record};
use crate::change::walk::{KeyWalk, Range, WalkEnd, over_budget};
use crate::error::{BoxError, Result};
use crate::future::BoxFuture;
use crate::kv::{EntryOperations, HighestCost, Key, Kv, PAUSES};
use crate::session::Session;

/// How many bytes of keys are remembered: a checkpoint holds them.
const MAX_KEY_BYTES: usize = 1024 * 1024;

/// What a checkpoint keeps of new keys that several entries have.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Contests {
    /// The new keys, as hashes.
    pub(super) keys: BTreeSet<u64>,
    /// The entries that are not compared yet: new key and old key.
    contenders: BTreeSet<(String, String)>,
    /// The bytes of their keys.
    bytes: usize,
    /// The old key of the entry that has won so far, for each new key.
    winners: BTreeMap<String, String>,
    /// The others, as they were when they were compared.
    losers: Copies,
}

impl Contests {
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether another entry gets the new key of this one.
    pub(super) fn is_lost(&self, old: &str) -> bool {
        self.losers.new_key(old).is_some()
    }

    pub(super) fn has_losers(&self) -> bool {
        !self.losers.is_empty()
    }

    fn first_loser(&self) -> Option<String> {
        self.losers.old_keys().next().map(str::to_owned)
    }

    fn add_loser(&mut self, entry: &Read, new: &str) {
        let (old, fingerprint) = (entry.record.name().to_owned(), entry.fingerprint);
        self.losers.insert(CopyRecord { old, new: new.to_owned(), fingerprint });
    }
}

/// Says which of several entries gets their new key. A trait object, so that only a re-key that chooses has the code.
pub(super) trait Choose: Send + Sync {
    /// Does one of the phases of the choice.
    fn run<'a>(
        &'a self,
        phase: RekeyPhase,
        relocation: &'a Relocation<'_>,
        job: &'a mut Job<'_>,
        state: &'a mut RekeyState,
    ) -> BoxFuture<'a, Result<WalkEnd>>;
}

type Compare = dyn Fn(&Record, &Record) -> Result<Ordering> + Send + Sync;

/// Chooses the greatest entry, and the first one of equals.
pub(super) struct Greatest(pub(super) Box<Compare>);

impl Choose for Greatest {
    fn run<'a>(
        &'a self,
        phase: RekeyPhase,
        relocation: &'a Relocation<'_>,
        job: &'a mut Job<'_>,
        state: &'a mut RekeyState,
    ) -> BoxFuture<'a, Result<WalkEnd>> {
        Box::pin(async move {
            match phase {
                RekeyPhase::Gather => gather(relocation, job, state).await,
                RekeyPhase::Choose => self.choose(job, state).await,
                _ => discard(job, state).await,
            }
        })
    }
}

/// An entry that was read.
struct Read {
    record: Record,
    fingerprint: u64,
}

/// Reads an entry. Two operations.
async fn read(kv: &Kv, state: &RekeyState, old: &str) -> Result<Option<Read>> {
    let Some(key) = kv.find(old).await? else { return Ok(None) };
    let Some(entry) = kv.get(old).await? else { return Ok(None) };
    let fingerprint = fingerprint(state.key, old, &entry.value, entry.metadata.as_ref(), key.expiration);
    let key = Key { metadata: entry.metadata, ..key };
    Ok(Some(Read { record: Record::new(kv, key, entry.value), fingerprint }))
}

/// Gathers the entries whose new keys several have.
async fn gather(relocation: &Relocation<'_>, job: &mut Job<'_>, state: &mut RekeyState) -> Result<WalkEnd> {
    let session = job.session();
    let mut walk = KeyWalk::new(session, Range::all(relocation.mapping.scope()), &state.position);
    while let Some(keys) = walk.next(job).await? {
        for key in keys {
            if let Target::Moves(new) = relocation.target(session, &key, state)?
                && state.contests.keys.contains(&state.hash(&new))
            {
                let contests = &mut state.contests;
                contests.bytes += new.len() + key.name.len();
                contests.contenders.insert((new, key.name));
                if contests.bytes > MAX_KEY_BYTES {
                    return Err(too_many_contenders());
                }
            }
            job.add_done(1);
        }
        state.position.set(walk.position());
        job.save_if_due(state, walk.entries_left()).await?;
    }
    Ok(walk.end())
}

impl Greatest {
    /// Compares all entries that were gathered.
    async fn choose(&self, job: &mut Job<'_>, state: &mut RekeyState) -> Result<WalkEnd> {
        /// Two entries, each listed and read.
        const OPERATIONS: u64 = 4;
        let session = job.session();
        let (mut best, mut is_first) = (None::<Read>, true);
        while let Some(contender) = state.contests.contenders.pop_first() {
            let (new, old) = &contender;
            if !is_first && session.meter.left() < OPERATIONS {
                state.contests.contenders.insert(contender);
                return Ok(WalkEnd::Paused);
            }
            let known = best.take().filter(|best| {
                state.contests.winners.get(new).map(String::as_str) == Some(best.record.name())
            });
            match self.compare(&session.kv, state, new, old, known).await {
                Ok(winner) => best = winner,
                Err(error) => {
                    state.contests.contenders.insert(contender);
                    return if session.meter.is_overdrawn() { Ok(over_budget(job)) } else { Err(error) };
                }
            }
            is_first = false;
            job.note_advance();
            job.save_if_due(state, Some(state.contests.contenders.len())).await?;
        }
        // From now on each new key belongs to its winner.
        for (new, old) in &state.contests.winners {
            let (place, owner) = (state.hash(new), state.hash(old));
            state.owners.insert(place, owner);
        }
        Ok(WalkEnd::Complete)
    }

    /// Compares an entry with the one that has won so far. Returns the winner.
    async fn compare(
        &self,
        kv: &Kv,
        state: &mut RekeyState,
        new: &str,
        old: &str,
        known: Option<Read>,
    ) -> Result<Option<Read>> {
        let best = match (known, state.contests.winners.get(new)) {
            (None, Some(best)) => read(kv, state, best).await?,
            (known, _) => known,
        };
        let (winner, loser) = match (best, read(kv, state, old).await?) {
            (None, None) => return Ok(None),
            (Some(best), None) => (best, None),
            (None, Some(entry)) => (entry, None),
            (Some(best), Some(entry)) => {
                let order = (self.0)(&best.record, &entry.record);
                let order = order.map_err(|source| AtEntry { name: old.to_owned(), source })?;
                if order == Ordering::Less { (entry, Some(best)) } else { (best, Some(entry)) }
            }
        };
        if let Some(loser) = loser {
            state.contests.add_loser(&loser, new);
        }
        state.contests.winners.insert(new.to_owned(), winner.record.name().to_owned());
        Ok(Some(winner))
    }
}

/// Deletes the losers that have not changed since they were compared, where there is something at the new key.
async fn discard(job: &mut Job<'_>, state: &mut RekeyState) -> Result<WalkEnd> {
    /// A list, two reads and a deletion.
    const OPERATIONS: u64 = 4;
    let session = job.session();
    let mut is_first = true;
    while let Some(old) = state.contests.first_loser() {
        if !is_first && session.meter.left() < OPERATIONS {
            return Ok(WalkEnd::Paused);
        }
        let found = discard_one(session, state, &old).await;
        if session.meter.is_overdrawn() {
            return Ok(over_budget(job));
        }
        match found? {
            Found::Left(collision) => leave(collision, state)?,
            _ => job.add_done(1),
        }
        state.contests.losers.remove(&old);
        is_first = false;
        job.note_advance();
        job.save_if_due(state, None).await?;
    }
    Ok(WalkEnd::Complete)
}

/// If KV refuses the deletion with 429, somebody else wrote the entry a moment ago: then it is looked at again.
async fn discard_one(session: &Session<'_>, state: &RekeyState, old: &str) -> Result<Found> {
    let mut pauses = PAUSES.iter();
    loop {
        let pause = pauses.next();
        let own_keys: &[&str] = if pause.is_some() { &[old] } else { &[] };
        let operations = EntryOperations::new(&HighestCost::default()).begin_attempt(own_keys);
        let result = try_to_discard(&session.kv.for_entry(operations.clone()), state, old).await;
        match pause.filter(|_| operations.has_conflict()) {
            Some(seconds) => session.sleep(Duration::from_secs(*seconds)).await,
            None => return result,
        }
    }
}

async fn try_to_discard(kv: &Kv, state: &RekeyState, old: &str) -> Result<Found> {
    let losers = &state.contests.losers;
    let Some(new) = losers.new_key(old) else { return Ok(Found::Nothing) };
    let Some(entry) = read(kv, state, old).await? else { return Ok(Found::Nothing) };
    if !losers.contains(old, new, entry.fingerprint) {
        return Ok(Found::Left(Collision::changed(old, new)));
    }
    let winner = state.contests.winners.get(new).map_or("", String::as_str);
    if state.left.contains_key(winner) || kv.bytes(new).await?.is_none() {
        return Ok(Found::Left(Collision::unmoved(old, new, winner)));
    }
    kv.delete(old).await?;
    Ok(Found::Moved)
}

fn too_many_contenders() -> BoxError {
    format!(
        "the keys of entries that share their new keys have more than {MAX_KEY_BYTES} bytes, and a checkpoint holds no more. \
         Nothing was written or deleted. Split the re-key, by longer prefixes"
    )
    .into()
}
