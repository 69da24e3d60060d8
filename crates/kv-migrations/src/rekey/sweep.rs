//! Reads entries under both keys, later than KV's delay, and deletes the old where the copy is there.

use std::cell::RefCell;
use std::ops::ControlFlow;

use futures_util::future::try_join;

use super::fingerprint::{Fingerprint, without_mark};
use super::moving::{Collision, Moving, State, occupied};
use crate::job::Job;
use crate::kv::{Key, Kv};
use crate::migration::Result;
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
    Collides(Collision),
}

impl Moving {
    pub(super) async fn sweep(&self, job: &Job<'_>, state: &RefCell<State>) -> Result<Walked> {
        let (kv, hall) = (job.kv(), Hall::new());
        let load = async |keys: Vec<Key>| self.load_pairs(job, keys, state).await;
        let work = async |key: Key, pair: Option<Pair>| {
            let Some(Pair { new, is_proven, is_large }) = pair else { return Ok(Swept::Not) };
            if is_proven {
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
            Swept::Collides(collision) => self.leave(collision, state)?,
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
        let copy = kv.get(&new).await?;
        if let Some(copy) = &copy {
            let is_same = copy.value == entry.value;
            let is_copy_of_ours = is_same || Self::is_copy_of_ours(kv, key, &new, &copy.value, state).await?;
            if is_unchanged && (is_same || !is_copy_of_ours) {
                // The same; or something newer, which the service wrote.
                kv.delete(&key.name).await?;
                return Ok(Swept::Deleted);
            }
            if is_unchanged {
                // An earlier copy, as KV still shows it.
                return Ok(Swept::Unproven { fingerprint: None });
            }
            if !is_copy_of_ours {
                return Ok(Swept::Collides(occupied(&key.name, &new)));
            }
        }
        if Self::expires_soon(job, key) {
            return Ok(Swept::Not);
        }
        Self::put(kv, &new, entry, key.expiration).await?;
        Ok(Swept::Unproven { fingerprint: Some(fingerprint) })
    }

    /// Whether what is at the new key is what was copied there, of an entry that has changed since.
    async fn is_copy_of_ours(
        kv: &Kv,
        key: &Key,
        new: &str,
        value: &[u8],
        state: &RefCell<State>,
    ) -> Result<bool> {
        let Some(at_new) = kv.find(new).await? else { return Ok(false) };
        let fingerprint =
            Fingerprint::of_entry(&key.name, value, at_new.metadata.as_ref(), at_new.expiration);
        Ok(state.borrow().copied.contains(&fingerprint))
    }
}

fn fingerprint(key: &Key, value: &[u8]) -> u64 {
    Fingerprint::of_entry(&key.name, value, key.metadata.as_ref(), key.expiration)
}
