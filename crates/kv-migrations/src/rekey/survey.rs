//! Looks at all keys before anything is written: whether each can have its new key.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use futures_util::future::try_join;

use super::Collisions;
use super::fingerprint::Fingerprint;
use super::mapping::Target;
use super::moving::{Collision, Moving, State, not_given_back, occupied, shared};
use crate::job::Job;
use crate::kv::Key;
use crate::migration::Result;
use crate::values::{Hall, Loaded, load_values};
use crate::walk::{Range, Walked, walk};

/// How many new keys can be remembered where no way back proves that each has one old key only.
const MOST_REMEMBERED: usize = 250_000;

/// What is found out about a key.
enum Finding {
    Stays,
    Free(String),
    Taken(Collision),
}

impl Moving {
    pub(super) async fn survey(&self, job: &Job<'_>, state: &RefCell<State>) -> Result<Walked> {
        let (kv, hall) = (job.kv(), Hall::new());
        // Which new keys exist already: hardly any.
        let load = async |keys: Vec<Key>| {
            let mut targets = Vec::with_capacity(keys.len());
            for key in keys {
                let target = self.there.target(job, &key, self.back.as_ref())?;
                targets.push((key, (target, Loaded::Missing)));
            }
            let mut moves: Vec<(&str, &mut Loaded)> = Vec::new();
            for (_, (target, existing)) in &mut targets {
                if let Target::Moves(new) = target {
                    moves.push((new.as_str(), existing));
                }
            }
            if !moves.is_empty() {
                let new: Vec<&str> = moves.iter().map(|(new, _)| *new).collect();
                let found = load_values(kv, &new).await?;
                for ((_, existing), found) in moves.into_iter().zip(found) {
                    *existing = found;
                }
            }
            Ok(targets)
        };
        let work = async |key: Key, (target, existing): (Target, Loaded)| {
            let old = key.name;
            let finding = match (target, existing) {
                (Target::Stays, _) => Finding::Stays,
                (Target::NotGivenBack { new, back }, _) => {
                    Finding::Taken(not_given_back(&old, &new, back.as_deref()))
                }
                (Target::Moves(new), Loaded::Missing) => Finding::Free(new),
                // It may be a copy of an earlier attempt.
                (Target::Moves(new), _) => match hall.alone(try_join(kv.get(&old), kv.get(&new))).await? {
                    (Some(entry), Some(copy)) if entry != copy => Finding::Taken(occupied(&old, &new)),
                    _ => Finding::Free(new),
                },
            };
            Ok((old, finding))
        };
        let position = state.borrow().position.clone();
        let walked =
            walk(job, Range::all(self.there.prefix()), position, load, work, async |found, position| {
                if let Some((old, finding)) = found {
                    self.keep(job, &old, finding, &mut state.borrow_mut())?;
                }
                state.borrow_mut().position = position;
                if job.is_checkpoint_due() {
                    job.save(state).await?;
                }
                Ok(ControlFlow::Continue(()))
            })
            .await?;
        if matches!(walked, Walked::All)
            && self.collisions == Collisions::Fail
            && !state.borrow().left.is_empty()
        {
            let collisions = std::mem::take(&mut *state.borrow_mut()).left;
            Self::refuse(&collisions)?;
        }
        Ok(walked)
    }

    fn keep(&self, job: &Job<'_>, old: &str, finding: Finding, state: &mut State) -> Result {
        let collision = match finding {
            Finding::Stays => return Ok(()),
            Finding::Taken(collision) => Some(collision),
            Finding::Free(new) => self.claim(old, &new, &mut state.owners)?,
        };
        if let Some(collision) = collision {
            return self.note(collision, state);
        }
        state.found += 1;
        job.add_done(1);
        Ok(())
    }

    /// Until the survey is done, so that all can be listed.
    fn note(&self, collision: Collision, state: &mut State) -> Result {
        match self.collisions {
            Collisions::Leave => self.leave(collision, state),
            Collisions::Fail => {
                state.left.insert(collision.old, collision.why);
                if state.left.len() > 1_000 {
                    let collisions = std::mem::take(state).left;
                    return Self::refuse(&collisions);
                }
                Ok(())
            }
        }
    }

    /// Remembers that the new key is the old one's, where nothing else proves that; a collision if it is another's.
    pub(super) fn claim(
        &self,
        old: &str,
        new: &str,
        owners: &mut BTreeMap<u64, u64>,
    ) -> Result<Option<Collision>> {
        if self.back.is_some() {
            return Ok(None);
        }
        let owner = Fingerprint::of_key(old);
        if *owners.entry(Fingerprint::of_key(new)).or_insert(owner) != owner {
            return Ok(Some(shared(old, new)));
        }
        if owners.len() > MOST_REMEMBERED {
            return Err(format!(
                "more than {MOST_REMEMBERED} entries are to be moved: to know that no two get the same key, give the \
                 re-key its way back, with `with_inverse`"
            )
            .into());
        }
        Ok(None)
    }
}
