//! Counts the entries of a prefix before a change works on them, which also tells where it ends.

use serde::Serialize;

use super::Job;
use super::walk::{KeyWalk, Position, Range, WalkEnd};
use crate::error::Result;
use crate::report::Phase;

/// The last key that a change works on: the last one that was listed when it began, or nothing if there was none. `None`
/// until they are counted. Without an end, a service that adds entries would keep the change going.
pub(super) type Until = Option<String>;

/// Counts the keys of a range, notes the last one, and begins the phase of the entries. `parts` returns where the state
/// keeps the end and the position. One operation for every 1,000 keys.
pub(super) async fn count<S: Serialize>(
    job: &mut Job<'_>,
    range: Range<'_>,
    state: &mut S,
    parts: impl Fn(&mut S) -> (&mut Until, &mut Position),
) -> Result<WalkEnd> {
    let mut walk = KeyWalk::new(job.session(), range, parts(state).1);
    while let Some(keys) = walk.next(job).await? {
        job.add_done(keys.len() as u64);
        parts(state).1.set(walk.position());
        job.save_if_due(state, walk.entries_left()).await?;
    }
    if walk.end() == WalkEnd::Complete {
        let (until, position) = parts(state);
        *until = Some(position.after().unwrap_or_default().to_owned());
        *position = Position::default();
        job.begin_phase(Phase::Entries, Some(job.done_in_phase()));
    }
    Ok(walk.end())
}
