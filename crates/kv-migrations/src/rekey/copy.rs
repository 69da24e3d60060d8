//! Writes entries to their new keys.

use std::cell::RefCell;
use std::ops::ControlFlow;

use super::collision::Collision;
use super::fingerprint::Fingerprint;
use super::moving::{BATCH, Moving};
use super::state::State;
use super::survey::load_into;
use crate::job::Job;
use crate::kv::{Key, Kv};
use crate::migration::Result;
use crate::values::{Hall, Loaded};
use crate::walk::{Range, Walked, walk};

/// What is to be done with an entry.
enum Plan {
    Stays,
    Moves(String, Loaded),
    Collides(Collision),
}

/// What became of an entry.
enum Copied {
    /// It needs none, or is gone.
    Not,
    With {
        fingerprint: u64,
    },
    /// There is something else at its new key: the sweep will look again.
    Deferred,
    Collides(Collision),
}

impl Moving {
    pub(super) async fn copy(&self, job: &Job<'_>, state: &RefCell<State>) -> Result<Walked> {
        let (kv, hall) = (job.kv(), Hall::new());
        let load = async |keys: Vec<Key>| self.load_plans(job, keys, state).await;
        let work = async |key: Key, plan: Plan| match plan {
            Plan::Stays => Ok(Copied::Not),
            Plan::Collides(collision) => Ok(Copied::Collides(collision)),
            Plan::Moves(..) if Self::expires_soon(job, &key) => Ok(Copied::Not),
            Plan::Moves(new, Loaded::Missing) => Self::copy_one(kv, &key, &new, false).await,
            Plan::Moves(new, Loaded::Large) => hall.alone(Self::copy_one(kv, &key, &new, true)).await,
            Plan::Moves(new, _) => Self::copy_one(kv, &key, &new, true).await,
        };
        let position = state.borrow().position.clone();
        walk(job, Range::all(self.there.prefix()), position, load, work, async |copied, position| {
            let is_full = {
                let mut state = state.borrow_mut();
                match copied {
                    None | Some(Copied::Not) => {}
                    Some(Copied::Deferred) => state.is_dirty = true,
                    Some(Copied::Collides(collision)) => self.leave(collision, &mut state)?,
                    Some(Copied::With { fingerprint }) => {
                        state.copied.insert(fingerprint);
                        job.add_done(1);
                    }
                }
                state.position = position;
                state.copied.len() >= BATCH
            };
            if job.is_checkpoint_due() {
                job.save(state).await?;
            }
            Ok(if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
        .await
    }

    /// Where the entries go, and whether there is something already.
    async fn load_plans(
        &self,
        job: &Job<'_>,
        keys: Vec<Key>,
        state: &RefCell<State>,
    ) -> Result<Vec<(Key, Plan)>> {
        let mut plans = Vec::with_capacity(keys.len());
        for key in keys {
            let state = &mut *state.borrow_mut();
            let plan = match self.target(job, &key, state)? {
                None => Plan::Stays,
                Some(new) => match self.claim(&key.name, &new, &mut state.owners)? {
                    Some(collision) => Plan::Collides(collision),
                    None => Plan::Moves(new, Loaded::Missing),
                },
            };
            plans.push((key, plan));
        }
        let mut moves: Vec<(&str, &mut Loaded)> = Vec::new();
        for (_, plan) in &mut plans {
            if let Plan::Moves(new, existing) = plan {
                moves.push((new.as_str(), existing));
            }
        }
        load_into(job.kv(), moves).await?;
        Ok(plans)
    }

    async fn copy_one(kv: &Kv, key: &Key, new: &str, is_occupied: bool) -> Result<Copied> {
        let Some(entry) = kv.get(&key.name).await? else { return Ok(Copied::Not) };
        // It may be a copy of ours, made after the last checkpoint.
        if is_occupied && kv.get(new).await?.is_some_and(|there| there != entry) {
            return Ok(Copied::Deferred);
        }
        let fingerprint =
            Fingerprint::of_entry(&key.name, &entry.value, entry.metadata.as_ref(), key.expiration);
        Self::put(kv, new, entry, key.expiration).await?;
        Ok(Copied::With { fingerprint })
    }
}
