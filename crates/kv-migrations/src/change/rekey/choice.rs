//! Where several old entries have one new key: which of them gets it, and what becomes of the others.
//!
//! The survey only notes the new keys, as hashes. Then the entries of each are gathered, read and compared, before anything
//! is written. The losers are deleted at the end, once all that moves is moved and verified.

use std::cmp::Ordering;
use std::sync::Arc;

use super::Rekey;
use super::attempts::look_and_delete;
use super::collision::Collision;
use super::copies::{CopyRecord, fingerprint};
use super::found::Found;
use super::mapping::Target;
use super::relocation::{Choose, Relocation, leave};
use super::state::{RekeyPhase, RekeyState};
use crate::change::Job;
use crate::change::record::{AtEntry, Record};
use crate::change::walk::{KeyWalk, Range, WalkEnd, over_budget};
use crate::error::{BoxError, Result};
use crate::future::BoxFuture;
use crate::kv::{Key, Kv};
use crate::sabotage::{self, Defect};

/// How many bytes of keys are remembered: a checkpoint holds them.
const MAX_KEY_BYTES: usize = 1024 * 1024;

impl<C: ?Sized, T> Rekey<C, T> {
    /// Chooses between entries that have one new key: the greatest by `compare` gets it. Of equals, the one whose old key
    /// comes first gets it. The old keys of the others are deleted.
    ///
    /// The survey decides, before anything is written. An error of `compare` fails the migration there. The winner is written
    /// once. The others are deleted at the end, when the winner is moved and verified.
    ///
    /// | an entry | what becomes of it |
    /// | --- | --- |
    /// | has not changed since it was compared | deleted |
    /// | has changed since, or its winner is gone | stays at its old key, and is reported |
    /// | is written by the service after the survey | a collision: see [`Collisions`](crate::Collisions) |
    /// | is at the new key already | a collision too |
    ///
    /// - With [`copying`](Self::copying) only the winners are copied. [`deleting`](Self::deleting) then deletes all old keys.
    ///   [`copying_missing`](Self::copying_missing) does not choose.
    /// - At most 250,000 entries are moved, because an inverse does not prove that no two entries get the same key.
    /// - A rollback does not restore the entries that were deleted.
    /// - A mapping that sees values ([`Rekey::by_value`]) cannot choose: [`Runner::new`](crate::Runner::new) refuses that.
    ///
    /// # Example
    /// ```
    /// use kv_migrations::{Migration, Rekey, Runner, kv::MemoryStore};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// // user_Ada and user_ada become user:ada: the one that was seen last.
    /// let users = Rekey::new("user_", |key| Some(key.name.replace("user_", "user:").to_lowercase()))
    ///     .choosing(|a, b| Ok(a.json::<u64>()?.cmp(&b.json()?)));
    /// let migration = Migration::rekey("005_users", "user_… to user:…, in lower case", users);
    ///
    /// let store = MemoryStore::new();
    /// store.insert("user_ADA", "1843");
    /// store.insert("user_Ada", "1852");
    /// let runner = Runner::new(store.clone(), "my-service", vec![migration])?;
    /// runner.run_pending(&()).await?; // and again, after the wait that it asks for
    ///
    /// assert_eq!(store.value("user:ada").unwrap(), b"1852");
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example()).unwrap();
    /// ```
    #[must_use]
    pub fn choosing(
        mut self,
        compare: impl Fn(&Record, &Record) -> Result<Ordering> + Send + Sync + 'static,
    ) -> Self {
        self.direction.choice = Some(Arc::new(Greatest(Box::new(compare))));
        self
    }
}

type Compare = dyn Fn(&Record, &Record) -> Result<Ordering> + Send + Sync;

/// Chooses the greatest entry, and the first one of equals.
struct Greatest(Box<Compare>);

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
                RekeyPhase::Choose => self.choose(relocation, job, state).await,
                _ => discard(relocation, job, state).await,
            }
        })
    }

    fn refusal(&self) -> String {
        "`choosing` does not go with a mapping that sees values: an entry whose value changes may get another key than the \
         one for which it was chosen. Leave `choosing` out; `with_collisions` says what becomes of entries that get the \
         same key"
            .to_owned()
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
    async fn choose(
        &self,
        relocation: &Relocation<'_>,
        job: &mut Job<'_>,
        state: &mut RekeyState,
    ) -> Result<WalkEnd> {
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
            match self.compare(&relocation.old, state, new, old, known).await {
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
                if order == Ordering::Less && !sabotage::is_on(Defect::FirstChosen) {
                    (entry, Some(best))
                } else {
                    (best, Some(entry))
                }
            }
        };
        if let Some(loser) = loser {
            let (old, fingerprint) = (loser.record.name().to_owned(), loser.fingerprint);
            let new = new.to_owned();
            let record = CopyRecord { old, new, fingerprint, written: None, is_confirmed: true };
            state.contests.losers.insert(record);
        }
        state.contests.winners.insert(new.to_owned(), winner.record.name().to_owned());
        Ok(Some(winner))
    }
}

/// Deletes the losers that have not changed since they were compared, where there is something at the new key.
async fn discard(relocation: &Relocation<'_>, job: &mut Job<'_>, state: &mut RekeyState) -> Result<WalkEnd> {
    /// A list, two reads and a deletion.
    const OPERATIONS: u64 = 4;
    let session = job.session();
    let mut is_first = true;
    while let Some(old) = state.contests.first_loser() {
        if !is_first && session.meter.left() < OPERATIONS {
            return Ok(WalkEnd::Paused);
        }
        let discard = async |kv| discard_one(relocation, &kv, state, &old).await;
        let found = look_and_delete(session, &relocation.old, &old, discard).await;
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

async fn discard_one(relocation: &Relocation<'_>, kv: &Kv, state: &RekeyState, old: &str) -> Result<Found> {
    let losers = &state.contests.losers;
    let Some(new) = losers.new_key(old) else { return Ok(Found::Nothing) };
    let Some(entry) = read(kv, state, old).await? else { return Ok(Found::Nothing) };
    if !losers.contains(old, new, entry.fingerprint) {
        return Ok(Found::Left(Collision::changed(old, new)));
    }
    let winner = state.contests.winners.get(new).map_or("", String::as_str);
    if state.left.contains_key(winner) || relocation.new.bytes(new).await?.is_none() {
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
