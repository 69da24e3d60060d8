//! Looks whether entries were written under old keys in the meantime.

use super::collision::MAX_KEPT;
use super::copy::{CopyPlan, plan};
use super::relocation::{Relocation, expires_soon};
use super::state::RekeyState;
use super::survey::is_missing;
use super::verify::verify_copy;
use crate::change::Job;
use crate::change::values::LargeValues;
use crate::change::walk::{KeyWalk, Range, Visited, Walk, WalkEnd};
use crate::error::Result;
use crate::kv::{Key, Kv};

/// Stopped at the first entry that has to be moved.
pub(super) async fn check(
    relocation: &Relocation,
    job: &mut Job<'_>,
    state: &mut RekeyState,
) -> Result<WalkEnd> {
    let session = job.session();
    let mut walk = KeyWalk::new(session, Range::all(relocation.mapping.prefix()), &state.position);
    while let Some(keys) = walk.next(job).await? {
        for key in &keys {
            let moves = relocation.target(session, key, state)?.is_some();
            if moves && !expires_soon(&session.kv, key) {
                return Ok(WalkEnd::Stopped);
            }
            job.add_done(1);
        }
        state.position.set(walk.position());
        job.save_if_due(state, walk.entries_left()).await?;
    }
    Ok(walk.end())
}

/// Finds the entries that have nothing at their new keys, where both keys stay.
pub(super) async fn find_missing(
    relocation: &Relocation,
    job: &mut Job<'_>,
    state: &mut RekeyState,
) -> Result<WalkEnd> {
    let (session, large_values) = (job.session(), LargeValues::new());
    let work = |operations, key, plan| look(session.kv.for_entry(operations), &large_values, key, plan);
    let mut walk = Walk::new(session, Range::all(relocation.mapping.prefix()), &state.position);
    let result = async {
        while let Some(visited) = walk.next(|keys| plan(relocation, session, keys, state), work).await? {
            if let Visited::Entry(Some((old, new, is_missing))) = visited {
                verify_copy(&state.settled, &old, &new)?;
                if is_missing && state.suspects.len() < MAX_KEPT {
                    state.suspects.insert(old, 0);
                }
                job.add_done(1);
            }
            state.position.set(walk.position());
            let left = walk.entries_left();
            walk.during(job.save_if_due(state, left)).await?;
        }
        Ok(walk.end())
    }
    .await;
    walk.finish(job, result).await
}

/// Both keys of an entry that moves, and whether there is nothing at the new one.
async fn look(
    kv: Kv,
    large_values: &LargeValues,
    key: Key,
    plan: CopyPlan,
) -> Result<Option<(String, String, bool)>> {
    let CopyPlan::Moves { new, existing } = plan else { return Ok(None) };
    let is_missing = is_missing(&kv, large_values, &new, existing).await? && !expires_soon(&kv, &key);
    Ok(Some((key.name, new, is_missing)))
}
