//! Writes entries to their new keys.

use super::collision::Collision;
use super::relocation::{Part, Relocation, expires_soon};
use super::state::RekeyState;
use super::survey::{Visit, claim, load_into};
use super::verify::{verify_copy, verify_first_page};
use super::writer::CopyWriter;
use crate::change::Job;
use crate::change::values::{LargeValues, Loaded};
use crate::change::walk::{Loading, Range, Visited, Walk, WalkEnd};
use crate::error::{BoxError, Result};
use crate::kv::{Key, Kv};
use crate::session::Session;

/// Where an entry goes, and what is there.
pub(super) enum CopyPlan {
    Stays,
    Moves { new: String, existing: Loaded },
    Collides(Collision),
}

/// What is known of a new key.
#[derive(PartialEq, Eq)]
enum Place {
    Free,
    Occupied,
}

/// What was done with an entry.
enum Copied {
    /// It stays, or it is gone.
    Nothing,
    Made,
    /// Something else is at its new key: the sweep looks again.
    Deferred,
    Collides(Collision),
}

/// Copies a batch of entries. Stopped when the batch is full.
pub(super) async fn copy(
    relocation: &Relocation,
    job: &mut Job<'_>,
    state: &mut RekeyState,
) -> Result<WalkEnd> {
    if !state.copied.is_empty() {
        let end = verify_first_page(relocation, job, state).await?;
        if end != WalkEnd::Stopped {
            return Ok(end);
        }
    }
    let (session, large_values) = (job.session(), LargeValues::new());
    let (part, writer) = (relocation.part, CopyWriter::new(state.key));
    let work = |operations, key, plan| {
        follow(session.kv.for_entry(operations), &large_values, part, &writer, key, plan)
    };
    let mut walk = Walk::new(session, Range::all(relocation.mapping.prefix()), &state.position);
    let result = async {
        while let Some(visited) = walk.next(|keys| plan(relocation, session, keys, state), work).await? {
            match visited {
                Visited::EndOfPage | Visited::Entry(Copied::Nothing) => {}
                Visited::Entry(Copied::Deferred) => state.needs_sweep = true,
                Visited::Entry(Copied::Collides(collision)) => relocation.leave(collision, state)?,
                Visited::Entry(Copied::Made) => job.add_done(1),
            }
            state.position.set(walk.position());
            state.remember_copies(writer.take_made());
            if state.is_batch_full(walk.last_begun()) {
                walk.stop();
            }
            let left = walk.entries_left();
            walk.during(job.save_if_due(state, left)).await?;
        }
        Ok(walk.end())
    }
    .await;
    let end = walk.finish(job, result).await;
    state.remember_copies(writer.take_made());
    end
}

/// Where the entries go, and whether something is there already.
pub(super) fn plan<'a>(
    relocation: &Relocation,
    session: &'a Session<'a>,
    keys: Vec<Key>,
    state: &mut RekeyState,
) -> Loading<'a, CopyPlan> {
    let plans = keys.into_iter().map(|key| {
        let plan = plan_entry(relocation, session, &key, state)?;
        Ok((key, plan))
    });
    let plans: Result<Vec<_>> = plans.collect();
    Box::pin(async move {
        let mut plans = plans?;
        let (mut names, mut places) = (Vec::new(), Vec::new());
        for (_, plan) in &mut plans {
            if let CopyPlan::Moves { new, existing } = plan {
                names.push(new.as_str());
                places.push(existing);
            }
        }
        load_into(&session.kv, &names, places).await?;
        Ok::<_, BoxError>(plans)
    })
}

fn plan_entry(
    relocation: &Relocation,
    session: &Session<'_>,
    key: &Key,
    state: &mut RekeyState,
) -> Result<CopyPlan> {
    if relocation.part == Part::Copying && !state.is_of_interest(&key.name) {
        return Ok(CopyPlan::Stays);
    }
    let Some(new) = relocation.target(session, key, state)? else { return Ok(CopyPlan::Stays) };
    verify_copy(&state.copied, &key.name, &new)?;
    Ok(match claim(relocation, &key.name, &new, Visit::Repeated, state)? {
        Some(collision) => CopyPlan::Collides(collision),
        None => CopyPlan::Moves { new, existing: Loaded::Missing },
    })
}

async fn follow(
    kv: Kv,
    large_values: &LargeValues,
    part: Part,
    writer: &CopyWriter,
    key: Key,
    plan: CopyPlan,
) -> Result<Copied> {
    let copy = |new, place| copy_entry(&kv, writer, &key, new, place);
    match plan {
        CopyPlan::Stays => Ok(Copied::Nothing),
        CopyPlan::Collides(collision) => Ok(Copied::Collides(collision)),
        // The service writes both keys: what is at the new one is its own. The sweep compares them.
        CopyPlan::Moves { existing: Loaded::Value(_), .. } if part == Part::Copying => Ok(Copied::Nothing),
        CopyPlan::Moves { .. } if expires_soon(&kv, &key) => Ok(Copied::Nothing),
        CopyPlan::Moves { new, existing: Loaded::Missing } => copy(new, Place::Free).await,
        CopyPlan::Moves { new, existing: Loaded::Large } => {
            large_values.alone(copy(new, Place::Occupied)).await
        }
        CopyPlan::Moves { new, .. } => copy(new, Place::Occupied).await,
    }
}

/// Copies an entry. Where something is at the new key, it may be a copy that was made after the last checkpoint.
async fn copy_entry(kv: &Kv, writer: &CopyWriter, key: &Key, new: String, place: Place) -> Result<Copied> {
    let Some(entry) = kv.get(&key.name).await? else { return Ok(Copied::Nothing) };
    if place == Place::Occupied && kv.get(&new).await?.is_some_and(|copy| copy != entry) {
        return Ok(Copied::Deferred);
    }
    writer.copy(kv, key, entry, new).await?;
    Ok(Copied::Made)
}
