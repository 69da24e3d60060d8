//! Looks whether entries were written under old keys in the meantime.

use super::found::Found;
use super::mapping::Target;
use super::pass::{Pass, Tools, run};
use super::plan::Plan;
use super::relocation::{Relocation, expires_soon};
use super::state::RekeyState;
use crate::change::Job;
use crate::change::walk::{KeyWalk, Range, WalkEnd};
use crate::error::Result;
use crate::future::BoxFuture;
use crate::kv::Key;

/// Stopped at the first entry that has to be moved.
pub(super) async fn check(
    relocation: &Relocation<'_>,
    job: &mut Job<'_>,
    state: &mut RekeyState,
) -> Result<WalkEnd> {
    let session = job.session();
    let mut walk = KeyWalk::new(session, Range::all(relocation.mapping.scope()), &state.position);
    while let Some(keys) = walk.next(job).await? {
        for key in &keys {
            match relocation.target(session, key, state)? {
                Target::Moves(_) if !expires_soon(&session.kv, key) => return Ok(WalkEnd::Stopped),
                // It was written after the survey.
                Target::Collides(collision) => relocation.leave(collision, state)?,
                Target::Moves(_) | Target::Stays => {}
            }
            job.add_done(1);
        }
        state.position.set(walk.position());
        job.save_if_due(state, walk.entries_left()).await?;
    }
    Ok(walk.end())
}

struct Checking<'a>(&'a Relocation<'a>);

/// Finds the entries that have nothing at their new keys, where both keys stay.
pub(super) async fn find_missing(
    relocation: &Relocation<'_>,
    job: &mut Job<'_>,
    state: &mut RekeyState,
) -> Result<WalkEnd> {
    run(&Checking(relocation), job, state).await
}

impl Pass for Checking<'_> {
    fn relocation(&self) -> &Relocation<'_> {
        self.0
    }

    fn work<'a>(&'a self, tools: Tools<'a>, key: Key, plan: Plan) -> BoxFuture<'a, Result<Found>> {
        Box::pin(async move {
            let (new, existing) = match Found::unless_it_moves(plan) {
                Ok(to) => to,
                // Also one that was written after the survey and cannot have its new key.
                Err(found) => return Ok(found),
            };
            let is_missing = tools.is_missing(&new, existing).await? && !expires_soon(&tools.old, &key);
            Ok(if is_missing { Found::Uncopied { old: key.name } } else { Found::Copied })
        })
    }
}
