//! Reads entries under both keys, later than KV's delay, and deletes the old ones whose copies are there.

use std::rc::Rc;

use futures_util::future::try_join;

use super::collision::{Collision, MAX_KEPT};
use super::copies::{Copies, CopyRecord, fingerprint, without_byte_order_mark};
use super::relocation::{Part, Relocation, expires_soon};
use super::state::RekeyState;
use super::verdict::{AtNewKey, Evidence, MAX_SIGHTINGS, Verdict, verdict, verdict_of_copying};
use super::verify::verify_copy;
use super::writer::CopyWriter;
use crate::change::Job;
use crate::change::hash::HashKey;
use crate::change::values::{LargeValues, Loaded, load_values};
use crate::change::walk::{Loading, Range, Visited, Walk, WalkEnd};
use crate::error::{BoxError, Result};
use crate::kv::{Entry, Key, Kv, Metadata};
use crate::sabotage::{self, Defect};
use crate::session::Session;

/// What reading an entry and its copy in bulk told. It holds no values: many pairs wait for their turn.
struct Pair {
    new: String,
    /// Whether the entry is as it was copied and the copy has the same value.
    is_proven: bool,
    is_large: bool,
}

/// What was done with an entry.
enum Swept {
    /// It stays, or it is gone.
    Nothing,
    /// Its copy is proven. Its old key is deleted, if it is to be.
    Proven,
    /// Another sweep has to prove the copy.
    Unproven { old: String },
    /// Something else is at its new key.
    Suspect { old: String, new: String },
}

/// What the work of a sweep reads.
#[derive(Clone)]
struct Sweep {
    part: Part,
    key: HashKey,
    copied: Rc<Copies>,
    sweeps: u32,
}

/// Sweeps a batch.
pub(super) async fn sweep(
    relocation: &Relocation,
    job: &mut Job<'_>,
    state: &mut RekeyState,
) -> Result<WalkEnd> {
    let (session, large_values) = (job.session(), LargeValues::new());
    let writer = CopyWriter::new(state.key);
    state.remember_copied_again();
    let sweep =
        Sweep { part: relocation.part, key: state.key, copied: state.copied.clone(), sweeps: state.sweeps };
    let work = |operations, key, pair| {
        sweep.work(session.kv.for_entry(operations), &large_values, &writer, key, pair)
    };
    let until = state.batch_until();
    let range = Range { prefix: relocation.mapping.prefix(), until: until.as_deref() };
    let mut walk = Walk::new(session, range, &state.position);
    let result = async {
        while let Some(visited) =
            walk.next(|keys| load(relocation, session, keys, state, &sweep), work).await?
        {
            if let Visited::Entry(swept) = visited {
                record(relocation, job, swept, state)?;
            }
            state.position.set(walk.position());
            state.copied_again.extend(writer.take_made());
            let left = walk.entries_left();
            walk.during(job.save_if_due(state, left)).await?;
        }
        Ok(walk.end())
    }
    .await;
    let end = walk.finish(job, result).await;
    state.copied_again.extend(writer.take_made());
    end
}

/// Reads the entries that move, and what is at their new keys.
fn load<'a>(
    relocation: &Relocation,
    session: &'a Session<'a>,
    keys: Vec<Key>,
    state: &RekeyState,
    sweep: &Sweep,
) -> Loading<'a, Option<Pair>> {
    let targets = keys.into_iter().map(|key| {
        let is_skipped = relocation.part == Part::Copying && !state.is_of_interest(&key.name);
        let target = if is_skipped { None } else { relocation.target(session, &key, state)? };
        if let Some(new) = &target {
            verify_copy(&state.copied, &key.name, new)?;
        }
        Ok((key, target))
    });
    let targets: Result<Vec<_>> = targets.collect();
    let sweep = sweep.clone();
    Box::pin(async move {
        let targets = targets?;
        let moves =
            || targets.iter().filter_map(|(key, target)| Some((key.name.as_str(), target.as_deref()?)));
        let (old, new): (Vec<&str>, Vec<&str>) = moves().unzip();
        if old.is_empty() {
            return Ok(targets.into_iter().map(|(key, _)| (key, None)).collect());
        }
        let (old, new) = try_join(load_values(&session.kv, &old), load_values(&session.kv, &new)).await?;
        let mut values = old.into_iter().zip(new);
        let pair = |(key, target): (Key, Option<String>)| {
            let pair = target.and_then(|new| {
                let (old_value, new_value) = values.next()?;
                Some(sweep.pair(&key, new, &old_value, &new_value))
            });
            (key, pair)
        };
        Ok::<_, BoxError>(targets.into_iter().map(pair).collect())
    })
}

impl Sweep {
    async fn work(
        &self,
        kv: Kv,
        large_values: &LargeValues,
        writer: &CopyWriter,
        key: Key,
        pair: Option<Pair>,
    ) -> Result<Swept> {
        let Some(pair) = pair else { return Ok(Swept::Nothing) };
        if pair.is_proven || sabotage::is_on(Defect::DeleteBeforeVerify) {
            return self.conclude(&kv, &key).await;
        }
        let look_closer = self.look_closer(&kv, writer, &key, pair.new);
        if pair.is_large { large_values.alone(look_closer).await } else { look_closer.await }
    }

    /// The copy is proven.
    async fn conclude(&self, kv: &Kv, key: &Key) -> Result<Swept> {
        if self.part == Part::Whole {
            kv.delete(&key.name).await?;
        }
        Ok(Swept::Proven)
    }

    fn pair(&self, key: &Key, new: String, old_value: &Loaded, new_value: &Loaded) -> Pair {
        let is_proven = match (old_value, new_value) {
            (Loaded::Value(old), Loaded::Value(copy)) => {
                let is_same = without_byte_order_mark(old) == without_byte_order_mark(copy);
                let fingerprint = self.fingerprint(key, old, key.metadata.as_ref(), key.expiration);
                // What the service has put there itself is its own.
                let is_of_service = self.part == Part::Copying && self.copied.new_key(&key.name).is_none();
                is_same && (is_of_service || self.copied.contains(&key.name, &new, fingerprint))
            }
            _ => false,
        };
        let is_large = matches!(old_value, Loaded::Large) || matches!(new_value, Loaded::Large);
        Pair { new, is_proven, is_large }
    }

    /// Reads one entry and its copy exactly, where reading in bulk proved nothing.
    async fn look_closer(&self, kv: &Kv, writer: &CopyWriter, key: &Key, new: String) -> Result<Swept> {
        let Some(entry) = kv.get(&key.name).await? else { return Ok(Swept::Nothing) };
        let fingerprint = self.fingerprint(key, &entry.value, entry.metadata.as_ref(), key.expiration);
        let is_unchanged = self.copied.contains(&key.name, &new, fingerprint);
        let at_new_key = self.at_new_key(kv, key, &entry, &new).await?;
        let evidence = Evidence { is_unchanged, at_new_key, sweeps: self.sweeps };
        let verdict = if self.part == Part::Copying { verdict_of_copying } else { verdict };
        let old = key.name.clone();
        match verdict(evidence) {
            Verdict::Proven => return self.conclude(kv, key).await,
            Verdict::Collide => return Ok(Swept::Suspect { old, new }),
            Verdict::CopyAgain if expires_soon(kv, key) => return Ok(Swept::Nothing),
            Verdict::CopyAgain => writer.copy(kv, key, entry, new).await?,
            Verdict::Adopt => writer.note(CopyRecord { old: old.clone(), new, fingerprint }),
            Verdict::LookAgain => {}
        }
        Ok(Swept::Unproven { old })
    }

    async fn at_new_key(&self, kv: &Kv, key: &Key, entry: &Entry, new: &str) -> Result<AtNewKey> {
        let Some(copy) = kv.get(new).await? else { return Ok(AtNewKey::Nothing) };
        let listed = kv.find(new).await?;
        let expiration = listed.as_ref().and_then(|listed| listed.expiration);
        if copy == *entry && expiration == key.expiration {
            return Ok(AtNewKey::SameEntry);
        }
        let is_our_copy = listed.is_some_and(|listed| {
            let fingerprint = self.fingerprint(key, &copy.value, listed.metadata.as_ref(), listed.expiration);
            self.copied.contains(&key.name, new, fingerprint)
        });
        Ok(if copy == *entry {
            AtNewKey::OtherExpiration { is_our_copy }
        } else {
            AtNewKey::OtherContent { is_our_copy }
        })
    }

    /// The fingerprint of the entry of an old key, if it has this content.
    fn fingerprint(
        &self,
        key: &Key,
        value: &[u8],
        metadata: Option<&Metadata>,
        expiration: Option<u64>,
    ) -> u64 {
        fingerprint(self.key, &key.name, value, metadata, expiration)
    }
}

fn record(relocation: &Relocation, job: &mut Job<'_>, swept: Swept, state: &mut RekeyState) -> Result {
    match swept {
        Swept::Nothing => {}
        Swept::Proven => {
            state.moved += 1;
            job.add_done(1);
        }
        Swept::Unproven { old } => {
            if relocation.part == Part::Copying && state.next_suspects.len() < MAX_KEPT {
                state.next_suspects.insert(old, 0);
            }
            state.needs_sweep = true;
        }
        Swept::Suspect { old, new } => {
            let times = state.suspects.get(&old).map_or(1, |times| times + 1);
            if times >= MAX_SIGHTINGS {
                return relocation.leave(Collision::occupied(&old, &new), state);
            }
            state.needs_sweep = true;
            if !state.suspect(old, times) {
                relocation.begin_sweep_again(job.session(), state);
                return Err(format!(
                    "more than {MAX_KEPT} entries have something else at their new keys. Nothing was deleted of which \
                     there is no copy. Migrate again to look at them once more"
                )
                .into());
            }
        }
    }
    Ok(())
}
