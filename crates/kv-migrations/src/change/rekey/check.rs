//! Looks whether entries were written under old keys in the meantime.

use super::relocation::{Relocation, expires_soon};
use super::state::RekeyState;
use crate::change::Job;
use crate::change::walk::{KeyWalk, Range, WalkEnd};
use crate::error::Result;

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
