//! Reads entries under both keys, later than KV's delay, and deletes the old where the copy is there.

use std::cell::RefCell;
use std::ops::ControlFlow;

use futures_util::future::try_join;

use super::collision::{Collision, MOST_KEPT};
use super::fingerprint::{Fingerprint, without_mark};
use super::moving::Moving;
use super::state::State;
use crate::job::Job;
use crate::kv::Key;
use crate::migration::Result;
use crate::sabotage::{self, Defect};
use crate::values::{Hall, Loaded, load_values};
use crate::walk::{Position, Range, Walked, walk};

/// An entry and its copy, as they were read in bulk.
struct Pair {
    new: String,
    /// Whether the entry is as it was copied, and the copy is there with the same value.
    is_proven: bool,
    is_large: bool,
}

/// What became of an entry.
enum Swept {
    /// It stays, or is gone.
    Not,
    Deleted,
    /// It was copied, or found to be, in a way that is to be proven yet.
    Unproven {
        fingerprint: Option<u64>,
    },
    /// There is something else at its new key.
    Suspect {
        old: String,
        new: String,
    },
}

/// How often something else is seen at a new key, each time later by KV's delay, before it is taken for what is there.
const TIMES: u32 = 3;

impl Moving {
    pub(super) async fn sweep(&self, job: &Job<'_>, state: &RefCell<State>) -> Result<Walked> {
        let (kv, hall) = (job.kv(), Hall::new());
        let load = async |keys: Vec<Key>| self.load_pairs(job, keys, state).await;
        let work = async |key: Key, pair: Option<Pair>| {
            let Some(Pair { new, is_proven, is_large }) = pair else { return Ok(Swept::Not) };
            if is_proven || sabotage::is_on(Defect::DeleteBeforeVerify) {
                kv.delete(&key.name).await?;
                return Ok(Swept::Deleted);
            }
            let look = Self::look_closer(job, &key, new, state);
            if is_large { hall.alone(look).await } else { look.await }
        };
        let (position, until) = {
            let state = state.borrow();
            (state.position.clone(), state.end.as_ref().and_then(Position::after).map(str::to_owned))
        };
        let range = Range { prefix: self.there.prefix(), until: until.as_deref() };
        walk(job, range, position, load, work, async |swept, position| {
            if let Some(swept) = swept {
                self.keep_swept(job, swept, &mut state.borrow_mut())?;
            }
            state.borrow_mut().position = position;
            if job.is_checkpoint_due() {
                job.save(state).await?;
            }
            Ok(ControlFlow::Continue(()))
        })
        .await
    }

    fn keep_swept(&self, job: &Job<'_>, swept: Swept, state: &mut State) -> Result {
        match swept {
            Swept::Not => {}
            Swept::Deleted => {
                state.moved += 1;
                job.add_done(1);
            }
            Swept::Unproven { fingerprint } => {
                state.copied.extend(fingerprint);
                state.is_dirty = true;
            }
            Swept::Suspect { old, new } => {
                let times = state.suspects.get(&old).map_or(1, |times| times + 1);
                if times >= TIMES {
                    return self.leave(Collision::occupied(&old, &new), state);
                }
                state.is_dirty = true;
                state.next_suspects.insert(old, times);
                if state.next_suspects.len() > MOST_KEPT {
                    return Err(format!(
                        "more than {MOST_KEPT} entries have something else at their new keys. Nothing was deleted of \
                         which there is no copy; migrate again to have them looked at again"
                    )
                    .into());
                }
            }
        }
        Ok(())
    }

    async fn load_pairs(
        &self,
        job: &Job<'_>,
        keys: Vec<Key>,
        state: &RefCell<State>,
    ) -> Result<Vec<(Key, Option<Pair>)>> {
        let kv = job.kv();
        let (mut stays, mut moves) = (Vec::new(), Vec::new());
        for key in keys {
            match self.target(job, &key, &state.borrow())? {
                None => stays.push((key, None)),
                Some(new) => moves.push((key, new)),
            }
        }
        let mut pairs = stays;
        if !moves.is_empty() {
            let old: Vec<&str> = moves.iter().map(|(key, _)| key.name.as_str()).collect();
            let new: Vec<&str> = moves.iter().map(|(_, new)| new.as_str()).collect();
            let (old, new) = try_join(load_values(kv, &old), load_values(kv, &new)).await?;
            let read = old.into_iter().zip(new);
            for ((key, new), values) in moves.into_iter().zip(read) {
                let is_large = matches!(values, (Loaded::Large, _) | (_, Loaded::Large));
                let is_proven = match values {
                    (Loaded::Value(old), Loaded::Value(new)) => {
                        let is_same = without_mark(&old) == without_mark(&new);
                        is_same && state.borrow().copied.contains(&fingerprint(&key, &old))
                    }
                    _ => false,
                };
                pairs.push((key, Some(Pair { new, is_proven, is_large })));
            }
        }
        pairs.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
        Ok(pairs)
    }

    /// One by one, exactly: what reading in bulk could not prove.
    async fn look_closer(job: &Job<'_>, key: &Key, new: String, state: &RefCell<State>) -> Result<Swept> {
        let kv = job.kv();
        let Some(entry) = kv.get(&key.name).await? else { return Ok(Swept::Not) };
        let fingerprint =
            Fingerprint::of_entry(&key.name, &entry.value, entry.metadata.as_ref(), key.expiration);
        let is_unchanged = state.borrow().copied.contains(&fingerprint);
        if let Some(copy) = kv.get(&new).await? {
            let at_new = kv.find(&new).await?;
            let expiration = at_new.as_ref().and_then(|at_new| at_new.expiration);
            if copy == entry && expiration == key.expiration {
                // If it is not known to be a copy of ours, it may be one of a moment ago, by a run that was cut off;
                // or the service wrote both.
                if !is_unchanged {
                    return Ok(Swept::Unproven { fingerprint: Some(fingerprint) });
                }
                kv.delete(&key.name).await?;
                return Ok(Swept::Deleted);
            }
            let of_copy = at_new.map(|at_new| {
                Fingerprint::of_entry(&key.name, &copy.value, at_new.metadata.as_ref(), at_new.expiration)
            });
            let is_ours = of_copy.is_some_and(|of_copy| state.borrow().copied.contains(&of_copy));
            match (is_unchanged, is_ours) {
                // An earlier copy, as KV still shows it; but not for ever.
                (true, true) if state.borrow().sweeps < TIMES => {
                    return Ok(Swept::Unproven { fingerprint: None });
                }
                // Something newer, which the service wrote.
                (true, false) => {
                    kv.delete(&key.name).await?;
                    return Ok(Swept::Deleted);
                }
                (false, false) if copy != entry => return Ok(Swept::Suspect { old: key.name.clone(), new }),
                (true, true) | (false, _) => {}
            }
        }
        if Self::expires_soon(job, key) {
            return Ok(Swept::Not);
        }
        Self::put(kv, &new, entry, key.expiration).await?;
        Ok(Swept::Unproven { fingerprint: Some(fingerprint) })
    }
}

fn fingerprint(key: &Key, value: &[u8]) -> u64 {
    Fingerprint::of_entry(&key.name, value, key.metadata.as_ref(), key.expiration)
}
