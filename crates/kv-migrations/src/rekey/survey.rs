//! Looks at all keys before anything is written: whether each can have its new key.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::Collisions;
use super::collision::{Collision, MOST_KEPT, refuse};
use super::fingerprint::Fingerprint;
use super::mapping::Target;
use super::moving::Moving;
use super::state::State;
use crate::job::Job;
use crate::kv::{Key, Kv};
use crate::migration::Result;
use crate::values::{Hall, Loaded, load_values};
use crate::walk::{Range, Walked, walk};

/// How many new keys can be remembered where no way back proves that each has one old key only.
const MOST_REMEMBERED: usize = 250_000;

/// What is found out about a key.
enum Finding {
    Stays,
    Free {
        new: String,
    },
    /// There is something else at its new key; perhaps only because one of the two is seen later than the other.
    Suspect,
    Taken(Collision),
}

impl Moving {
    pub(super) async fn survey(&self, job: &Job<'_>, state: &RefCell<State>) -> Result<Walked> {
        let (kv, hall) = (job.kv(), Hall::new());
        let load = async |keys: Vec<Key>| self.load_targets(job, keys).await;
        let work = async |key: Key, (target, existing): (Target, Loaded)| {
            let old = key.name;
            let finding = match target {
                Target::Stays => Finding::Stays,
                Target::NotGivenBack { new, back } => {
                    Finding::Taken(Collision::not_given_back(&old, &new, back.as_deref()))
                }
                Target::Moves(new) => {
                    let is_alike = match existing {
                        Loaded::Missing => true,
                        Loaded::Large => hall.alone(is_alike(kv, &old, &new)).await?,
                        Loaded::Value(_) | Loaded::Unread => is_alike(kv, &old, &new).await?,
                    };
                    if is_alike { Finding::Free { new } } else { Finding::Suspect }
                }
            };
            Ok((old, finding))
        };
        let position = state.borrow().position.clone();
        let walked =
            walk(job, Range::all(self.there.prefix()), position, load, work, async |found, position| {
                if let Some((old, finding)) = found {
                    self.keep(job, old, finding, &mut state.borrow_mut())?;
                }
                state.borrow_mut().position = position;
                if job.is_checkpoint_due() {
                    job.save(state).await?;
                }
                Ok(ControlFlow::Continue(()))
            })
            .await?;
        if matches!(walked, Walked::All) && state.borrow().suspects.is_empty() {
            self.refuse_collisions(&state.borrow())?;
        }
        Ok(walked)
    }

    /// Looks once more, later than KV's delay, where there was something else at the new key.
    pub(super) async fn confirm(&self, job: &Job<'_>, state: &RefCell<State>) -> Result<Walked> {
        let kv = job.kv();
        let mut is_first = true;
        while let Some((old, times)) = { state.borrow_mut().suspects.pop_first() } {
            let put_back = || state.borrow_mut().suspects.insert(old.clone(), times);
            // A list, two reads, and perhaps one of them again.
            if !is_first && !job.can_afford(4) {
                put_back();
                return Ok(Walked::Paused);
            }
            let finding = self.look_again(job, kv, &old).await;
            if job.is_overdrawn() {
                put_back();
                return Ok(Walked::over_budget(job));
            }
            is_first = false;
            job.note_step();
            match finding {
                Ok(finding) => self.keep(job, old, finding, &mut state.borrow_mut())?,
                Err(error) => {
                    put_back();
                    return Err(error);
                }
            }
        }
        self.refuse_collisions(&state.borrow())?;
        Ok(Walked::All)
    }

    async fn look_again(&self, job: &Job<'_>, kv: &Kv, old: &str) -> Result<Finding> {
        let Some(key) = kv.find(old).await? else { return Ok(Finding::Stays) };
        let Target::Moves(new) = self.there.target(job, &key, self.back.as_ref())? else {
            return Ok(Finding::Stays);
        };
        let is_alike = is_alike(kv, old, &new).await?;
        Ok(if is_alike { Finding::Free { new } } else { Finding::Taken(Collision::occupied(old, &new)) })
    }

    /// Where the entries go, and what is there already: hardly anything.
    async fn load_targets(&self, job: &Job<'_>, keys: Vec<Key>) -> Result<Vec<(Key, (Target, Loaded))>> {
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
        load_into(job.kv(), moves).await?;
        Ok(targets)
    }

    fn keep(&self, job: &Job<'_>, old: String, finding: Finding, state: &mut State) -> Result {
        let collision = match finding {
            Finding::Stays => return Ok(()),
            Finding::Suspect => {
                state.suspects.insert(old, 1);
                None
            }
            Finding::Taken(collision) => Some(collision),
            Finding::Free { new } => {
                let collision = self.claim(&old, &new, &mut state.owners)?;
                if collision.is_none() {
                    state.found += 1;
                    job.add_done(1);
                }
                collision
            }
        };
        match collision {
            None => {}
            Some(collision) if self.collisions == Collisions::Leave => self.leave(collision, state)?,
            // Not before all are found.
            Some(collision) => drop(state.left.insert(collision.old, collision.why)),
        }
        if state.left.len() + state.suspects.len() > MOST_KEPT {
            return Err(format!(
                "more than {MOST_KEPT} entries cannot have their new keys, since there is something else: give them \
                 keys of their own. Nothing was written or deleted"
            )
            .into());
        }
        Ok(())
    }

    /// Fails with all collisions that were found, unless they are to be left. The next run surveys anew.
    fn refuse_collisions(&self, state: &State) -> Result {
        if self.collisions == Collisions::Leave || state.left.is_empty() {
            return Ok(());
        }
        refuse(&state.left)
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
            return Ok(Some(Collision::shared(old, new)));
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

/// Whether there is nothing else at the new key: a copy of an earlier attempt may be.
async fn is_alike(kv: &Kv, old: &str, new: &str) -> Result<bool> {
    let (entry, copy) = (kv.get(old).await?, kv.get(new).await?);
    Ok(entry.is_none() || copy.is_none() || entry == copy)
}

/// Reads what is at keys in bulk, each into its place.
pub(super) async fn load_into(kv: &Kv, places: Vec<(&str, &mut Loaded)>) -> Result {
    if places.is_empty() {
        return Ok(());
    }
    let keys: Vec<&str> = places.iter().map(|(key, _)| *key).collect();
    let found = load_values(kv, &keys).await?;
    for ((_, place), found) in places.into_iter().zip(found) {
        *place = found;
    }
    Ok(())
}
