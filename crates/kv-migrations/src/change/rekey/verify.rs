//! Refuses a mapping that has changed since entries were copied, before anything is deleted.

use super::copies::Copies;
use super::mapping::Target;
use super::relocation::Relocation;
use super::state::RekeyState;
use crate::change::Job;
use crate::change::walk::{KeyWalk, Pages, Range, WalkEnd, over_budget};
use crate::error::{BoxError, Result};
use crate::kv::Key;
use crate::session::Session;

/// How many are listed in an error.
const MAX_LISTED: usize = 20;

/// Looks at all keys of a batch.
pub(super) async fn verify(
    relocation: &Relocation<'_>,
    job: &mut Job<'_>,
    state: &mut RekeyState,
) -> Result<WalkEnd> {
    let session = job.session();
    let until = state.until();
    let range = Range { scope: relocation.mapping.scope(), until: until.as_deref() };
    let mut walk = KeyWalk::new(session, range, &state.position);
    let mut stray = StrayCopies::default();
    while let Some(keys) = walk.next(job).await? {
        stray.find(relocation, session, &keys, state)?;
        state.position.set(walk.position());
        if stray.number == 0 {
            job.save_if_due(state, walk.entries_left()).await?;
        }
    }
    if stray.number > 0 {
        // Once the mapping is restored, the next run looks at all of them again.
        state.position.set(&state.batch.clone());
    }
    stray.refuse()?;
    Ok(walk.end())
}

/// Looks at the first keys of a batch that an earlier request began to copy, so that a changed mapping makes no more copies.
/// One operation. Stopped if all is well.
pub(super) async fn verify_first_page(
    relocation: &Relocation<'_>,
    job: &Job<'_>,
    state: &RekeyState,
) -> Result<WalkEnd> {
    let session = job.session();
    let mut pages = Pages::new(session, Range::all(relocation.mapping.scope()), &state.batch);
    let mut stray = StrayCopies::default();
    match pages.next().await {
        Ok(page) => stray.find(relocation, session, &page.map_or(Vec::new(), |page| page.keys), state)?,
        Err(_) if session.meter.is_overdrawn() => return Ok(over_budget(job)),
        Err(error) => return Err(error.into()),
    }
    stray.refuse()?;
    Ok(WalkEnd::Stopped)
}

/// Copies of entries that would now get other keys.
#[derive(Default)]
struct StrayCopies {
    number: usize,
    listed: Vec<String>,
}

impl StrayCopies {
    fn find(
        &mut self,
        relocation: &Relocation<'_>,
        session: &Session<'_>,
        keys: &[Key],
        state: &RekeyState,
    ) -> Result {
        for key in keys.iter().filter(|key| !state.left.contains_key(&key.name)) {
            let Some(copied_to) = state.copied.new_key(&key.name) else { continue };
            let target = relocation.target(session, key, state)?;
            let target = if let Target::Moves(new) = &target { Some(new.as_str()) } else { None };
            if target != Some(copied_to) {
                self.number += 1;
                if self.listed.len() < MAX_LISTED {
                    self.listed.push(stray_copy(&key.name, copied_to, target));
                }
            }
        }
        Ok(())
    }

    fn refuse(self) -> Result {
        if self.number == 0 { Ok(()) } else { Err(refusal(self.number, &self.listed)) }
    }
}

/// Refuses an entry that was copied to another key than its new one.
pub(super) fn verify_copy(copies: &Copies, old: &str, new: &str) -> Result {
    match copies.new_key(old).filter(|copied_to| *copied_to != new) {
        None => Ok(()),
        Some(copied_to) => Err(refusal(1, &[stray_copy(old, copied_to, Some(new))])),
    }
}

fn stray_copy(old: &str, copied_to: &str, target: Option<&str>) -> String {
    let now = target.map_or_else(|| "stay".to_owned(), |target| format!("get `{target}`"));
    format!("`{old}` was copied to `{copied_to}` and would now {now}")
}

fn refusal(number: usize, listed: &[String]) -> BoxError {
    let more = number - listed.len();
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!(
        "the mapping has changed since {number} entries were copied, none of which is deleted: {}{more}. Restore the earlier \
         mapping, and migrate again. Or delete these copies and reset the migration, to start over: POST \
         /migrations/{{id}}/reset",
        listed.join("; ")
    )
    .into()
}
