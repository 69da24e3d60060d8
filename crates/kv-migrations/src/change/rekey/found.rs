//! What a pass finds of an entry, or does with it, and what that means for the re-key.

use super::collision::{Collision, Collisions, MAX_KEPT};
use super::plan::{MAX_REMEMBERED, Plan, Visit, claim};
use super::relocation::{BoxRecord, Part, Relocation, leave};
use super::state::{RekeyPhase, RekeyState};
use super::verdict::MAX_SIGHTINGS;
use crate::change::Job;
use crate::change::values::Loaded;
use crate::error::{BoxError, Result};
use crate::report::EntryCounts;

/// What was found of an entry, or done with it.
pub(super) enum Found {
    /// It stays, or it is gone.
    Nothing,
    /// It cannot have its new key.
    Collides(Collision),
    /// It stays for good.
    Left(Collision),
    /// What only a re-key by value finds.
    Recorded(BoxRecord),

    /// Survey: nothing else is at its new key.
    Free { old: String, new: String },
    /// Survey: something else is at its new key; perhaps only because one of the two became visible later.
    Taken { old: String },
    /// Survey: what is at its new key wins.
    Superseded { old: String, new: String },
    /// Survey before old keys are deleted: nothing is at its new key.
    Absent { old: String, new: String },

    /// It was copied, or has a copy.
    Copied,
    /// It has no copy.
    Uncopied { old: String },

    /// Its copy is proven. Its old key is deleted, if it is to be.
    Moved,
    /// The next sweep looks at it.
    Unsettled,
    /// The next sweep has to prove its copy.
    Unproven { old: String },
    /// Something else is at its new key.
    Suspect { old: String, new: String },
    /// It has nothing at its new key, or had nothing until it was copied now.
    Missing { old: String, sightings: u32 },
}

impl Found {
    /// The key that an entry gets, and what is there. What is found already, if it does not move.
    pub(super) fn unless_it_moves(plan: Plan) -> Result<(String, Loaded), Self> {
        match plan {
            Plan::Moves { new, existing } => Ok((new, existing)),
            Plan::Collides(collision) => Err(Self::Collides(collision)),
            Plan::Stays | Plan::Unmapped { .. } | Plan::Compared { .. } | Plan::GivesWay { .. } => {
                Err(Self::Nothing)
            }
        }
    }

    /// Records it. Entries are recorded in the order of their keys.
    pub(super) fn record(
        self,
        relocation: &Relocation<'_>,
        job: &mut Job<'_>,
        state: &mut RekeyState,
    ) -> Result {
        if state.phase == RekeyPhase::Survey {
            let left = u64::from(matches!(self, Self::Nothing));
            job.add_entries(EntryCounts { seen: 1, left, ..EntryCounts::default() });
        }
        match self {
            Self::Nothing => {}
            Self::Collides(collision) => relocation.leave(collision, state)?,
            Self::Left(collision) => leave(collision, state)?,
            Self::Recorded(record) => record(relocation, state)?,
            Self::Free { old, new } => {
                if let Some(collision) = claim(relocation, &old, &new, Visit::First, state)? {
                    if relocation.choice.is_some() && !relocation.settings.part.is_deleting() {
                        let place = state.hash(&new);
                        state.contests.keys.insert(place);
                    } else {
                        relocation.leave(collision, state)?;
                    }
                } else {
                    state.found = state.found.saturating_add(1);
                    job.add_done(1);
                }
            }
            Self::Superseded { old, new } => {
                let pair = state.hash_pair(&old, &new);
                state.superseded.insert(pair);
                if state.superseded.len() > MAX_REMEMBERED {
                    return Err(too_many_superseded());
                }
                state.found = state.found.saturating_add(1);
                job.add_done(1);
            }
            Self::Taken { old } => drop(state.suspects.insert(old, 1)),
            Self::Absent { old, new } => {
                if let Some(collision) = claim(relocation, &old, &new, Visit::First, state)? {
                    relocation.leave(collision, state)?;
                } else {
                    state.suspects.insert(old, 1);
                }
            }
            Self::Copied => job.add_done(1),
            Self::Uncopied { old } => {
                if state.suspects.len() < MAX_KEPT {
                    state.suspects.insert(old, 0);
                }
                job.add_done(1);
            }
            Self::Moved => {
                state.moved = state.moved.saturating_add(1);
                job.add_done(1);
            }
            Self::Unsettled => state.needs_sweep = true,
            Self::Unproven { old } => {
                if relocation.settings.part == Part::Copying && state.next_suspects.len() < MAX_KEPT {
                    // A sweep that writes comes right after one that counted how often something else was seen.
                    let counted = state.suspects.get(&old).filter(|_| state.is_writing);
                    state.next_suspects.insert(old, counted.copied().unwrap_or(0));
                }
                state.needs_sweep = true;
            }
            Self::Suspect { old, new } => {
                let times = state.suspects.get(&old).map_or(1, |times| times.saturating_add(1));
                if times >= MAX_SIGHTINGS {
                    let collision = Collision::occupied(&old, &new);
                    if relocation.settings.collisions == Collisions::KeepNew {
                        // It was not there when the survey looked: it may be an earlier copy.
                        return leave(collision, state);
                    }
                    return relocation.leave(collision, state);
                }
                return look_again_later(relocation, job, state, old, times);
            }
            Self::Missing { old, sightings } => {
                return look_again_later(relocation, job, state, old, sightings);
            }
        }
        if state.is_surveying() { check_survey(relocation, state) } else { Ok(()) }
    }
}

/// Makes the next sweep look at an entry again that was seen so often.
fn look_again_later(
    relocation: &Relocation<'_>,
    job: &Job<'_>,
    state: &mut RekeyState,
    old: String,
    times: u32,
) -> Result {
    state.needs_sweep = true;
    if state.suspect(old, times) {
        return Ok(());
    }
    relocation.begin_sweep_again(job.session(), state);
    Err(if relocation.settings.part.is_deleting() { too_many_missing() } else { too_many_suspects() })
}

/// Fails if the survey has found too much to keep.
fn check_survey(relocation: &Relocation<'_>, state: &RekeyState) -> Result {
    if relocation.settings.part.is_deleting() && state.suspects.len() > MAX_KEPT {
        return Err(too_many_missing());
    }
    if state.left.len() + state.suspects.len() > MAX_KEPT {
        return Err(format!(
            "more than {MAX_KEPT} entries cannot have their new keys: give them keys of their own. Nothing was written or \
             deleted"
        )
        .into());
    }
    Ok(())
}

fn too_many_superseded() -> BoxError {
    format!(
        "more than {MAX_REMEMBERED} entries would give way to what is at their new keys. Nothing was written or deleted. Use \
         two migrations instead: `copying()`, which leaves what is at the new keys, and `deleting()`"
    )
    .into()
}

fn too_many_suspects() -> BoxError {
    format!(
        "more than {MAX_KEPT} entries have something else at their new keys. Nothing was deleted of which there is no copy. \
         Migrate again to look at them once more"
    )
    .into()
}

/// The error where old keys are to be deleted that were not copied.
fn too_many_missing() -> BoxError {
    format!(
        "more than {MAX_KEPT} entries have nothing at their new keys. None of them was deleted. Copy them first: register the \
         same re-key with `copying()`, under another id, before this migration. If the service has deleted them under their \
         new keys, delete their old keys with a backfill"
    )
    .into()
}
