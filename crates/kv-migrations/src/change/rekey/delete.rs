//! Deletes the old keys of entries that have new ones, where an earlier migration has copied them.
//!
//! The service writes only new keys by now, so what is at a new key wins. Each entry is looked at twice, KV's delay apart:
//! the survey was the first look.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::collision::{Collision, Collisions};
use super::copy::{CopyPlan, plan};
use super::relocation::{Missing, Part, Relocation, expires_soon, leave};
use super::state::RekeyState;
use super::survey::{is_missing, too_many_missing};
use super::verdict::MAX_SIGHTINGS;
use super::writer::CopyWriter;
use crate::change::Job;
use crate::change::values::LargeValues;
use crate::change::walk::{Range, Visited, Walk, WalkEnd};
use crate::error::Result;
use crate::kv::{Key, Kv};

/// What was done with an entry.
enum Looked {
    /// It stays, or it is gone.
    Nothing,
    Deleted,
    /// There is something at its new key since the last look.
    Appeared,
    /// It has nothing at its new key, or had nothing until it was copied now.
    Missing {
        old: String,
        sightings: u32,
    },
    Left(Collision),
    Collides(Collision),
}

/// What the work on an entry reads.
struct Deletion {
    part: Part,
    collisions: Collisions,
    /// The old keys that had nothing at their new keys, and how often that was seen.
    missing: Rc<BTreeMap<String, u32>>,
    writer: CopyWriter,
}

/// Looks at all entries again.
pub(super) async fn delete(
    relocation: &Relocation,
    job: &mut Job<'_>,
    state: &mut RekeyState,
) -> Result<WalkEnd> {
    let (session, large_values) = (job.session(), LargeValues::new());
    let missing = Rc::new(state.suspects.clone());
    let writer = CopyWriter::new(state.key);
    let deletion = Deletion { part: relocation.part, collisions: relocation.collisions, missing, writer };
    let work =
        |operations, key, plan| deletion.look(session.kv.for_entry(operations), &large_values, key, plan);
    let mut walk = Walk::new(session, Range::all(relocation.mapping.prefix()), &state.position);
    let result = async {
        while let Some(visited) = walk.next(|keys| plan(relocation, session, keys, state), work).await? {
            if let Visited::Entry(looked) = visited {
                record(relocation, job, looked, state)?;
            }
            state.position.set(walk.position());
            state.remember_copies(deletion.writer.take_made());
            let left = walk.entries_left();
            walk.during(job.save_if_due(state, left)).await?;
        }
        Ok(walk.end())
    }
    .await;
    let end = walk.finish(job, result).await;
    state.remember_copies(deletion.writer.take_made());
    end
}

impl Deletion {
    async fn look(&self, kv: Kv, large_values: &LargeValues, key: Key, plan: CopyPlan) -> Result<Looked> {
        let (new, existing) = match plan {
            CopyPlan::Stays => return Ok(Looked::Nothing),
            CopyPlan::Collides(collision) => return Ok(Looked::Collides(collision)),
            CopyPlan::Moves { new, existing } => (new, existing),
        };
        let sightings = self.missing.get(&key.name).copied();
        if is_missing(&kv, large_values, &new, existing).await? {
            return self.handle_missing(&kv, &key, &new, sightings.unwrap_or(0) + 1).await;
        }
        if sightings.is_some() {
            return Ok(Looked::Appeared);
        }
        let old = &key.name;
        // An entry that could not be copied has another one at its new key.
        if self.collisions == Collisions::Skip && kv.get(old).await? != kv.get(&new).await? {
            return Ok(Looked::Left(Collision::different(old, &new)));
        }
        kv.delete(old).await?;
        Ok(Looked::Deleted)
    }

    async fn handle_missing(&self, kv: &Kv, key: &Key, new: &str, sightings: u32) -> Result<Looked> {
        let old = &key.name;
        if expires_soon(kv, key) {
            return Ok(Looked::Nothing);
        }
        if sightings > 1 {
            if self.part == Part::Deleting(Missing::Left) || sightings > MAX_SIGHTINGS {
                return Ok(Looked::Left(Collision::missing(old, new)));
            }
            let Some(entry) = kv.get(old).await? else { return Ok(Looked::Nothing) };
            self.writer.copy(kv, key, entry, new.to_owned()).await?;
        }
        Ok(Looked::Missing { old: old.clone(), sightings })
    }
}

fn record(relocation: &Relocation, job: &mut Job<'_>, looked: Looked, state: &mut RekeyState) -> Result {
    match looked {
        Looked::Nothing => {}
        Looked::Deleted => {
            state.moved += 1;
            job.add_done(1);
        }
        Looked::Appeared => state.needs_sweep = true,
        Looked::Missing { old, sightings } => {
            state.needs_sweep = true;
            if !state.suspect(old, sightings) {
                relocation.begin_sweep_again(job.session(), state);
                return Err(too_many_missing());
            }
        }
        Looked::Left(collision) => leave(collision, state)?,
        Looked::Collides(collision) => relocation.leave(collision, state)?,
    }
    Ok(())
}
