//! What a pass knows of an entry before it works on it: where it goes, and what is there.

use super::collision::Collision;
use super::mapping::Target;
use super::relocation::{Missing, Part, Relocation};
use super::state::RekeyState;
use super::verify::verify_copy;
use crate::change::values::{Loaded, load_values};
use crate::change::walk::Loading;
use crate::error::{BoxError, Result};
use crate::kv::{Key, Kv};
use crate::sabotage::{self, Defect};
use crate::session::Session;

/// How many new keys are remembered where no inverse proves that each has one old key.
pub(super) const MAX_REMEMBERED: usize = 250_000;

/// Where an entry goes, and what is there.
pub(super) enum Plan {
    Stays,
    /// The mapping needs its value, which has to be read singly.
    Unmapped {
        is_large: bool,
    },
    Collides(Collision),
    Moves {
        new: String,
        existing: Loaded,
    },
    /// It gives way to what is at its new key.
    GivesWay {
        new: String,
    },
    /// It moves, and was read in bulk under both keys. It holds no values: many entries wait for their turn.
    Compared {
        new: String,
        /// Whether the entry is as it was copied and the copy has the same value.
        is_proven: bool,
        is_large: bool,
    },
}

impl Plan {
    /// An entry that moves, before anything is read.
    pub(super) fn moves(new: String) -> Self {
        Self::Moves { new, existing: Loaded::Missing }
    }

    /// The key that the entry gets, if it moves.
    pub(super) fn new_key(&self) -> Option<&str> {
        match self {
            Self::Moves { new, .. } | Self::Compared { new, .. } => Some(new),
            Self::Stays | Self::Unmapped { .. } | Self::Collides(_) | Self::GivesWay { .. } => None,
        }
    }

    /// As the mapping says, for a survey.
    pub(super) fn of_target(target: Target) -> Self {
        match target {
            Target::Stays => Self::Stays,
            Target::Moves(new) => Self::moves(new),
            Target::Collides(collision) => Self::Collides(collision),
        }
    }

    /// As the mapping says after the survey. Refuses an entry that was copied to another key.
    pub(super) fn of_entry(
        relocation: &Relocation<'_>,
        session: &Session<'_>,
        key: &Key,
        state: &mut RekeyState,
    ) -> Result<Self> {
        let old = &key.name;
        if relocation.settings.part == Part::Copying && !state.is_of_interest(old) {
            return Ok(Self::Stays);
        }
        let new = match relocation.target(session, key, state)? {
            Target::Moves(new) => new,
            target => return Ok(Self::of_target(target)),
        };
        for copies in [&*state.copied, &state.copied_again, &state.settled] {
            verify_copy(copies, old, &new)?;
        }
        if gives_way(state, old, &new) {
            return Ok(Self::GivesWay { new });
        }
        Ok(match claim(relocation, old, &new, Visit::Repeated, state)? {
            Some(collision) => Self::Collides(collision),
            None => Self::moves(new),
        })
    }
}

/// Whether an entry gives way to what was at this new key.
pub(super) fn gives_way(state: &RekeyState, old: &str, new: &str) -> bool {
    let is_known = !state.superseded.is_empty() && !sabotage::is_on(Defect::NewForgotten);
    is_known && state.superseded.contains(&state.hash_pair(old, new))
}

/// Plans each of these entries.
pub(super) fn plan_all(
    keys: Vec<Key>,
    plan: &mut dyn FnMut(&Key) -> Result<Plan>,
) -> Result<Vec<(Key, Plan)>> {
    let mut plans = Vec::with_capacity(keys.len());
    for key in keys {
        let plan = plan(&key)?;
        plans.push((key, plan));
    }
    Ok(plans)
}

/// Reads what is at the new keys.
pub(super) fn load_existing(new: &Kv, plans: Result<Vec<(Key, Plan)>>) -> Loading<'_, Plan> {
    Box::pin(async move {
        let mut plans = plans?;
        let (mut names, mut places) = (Vec::new(), Vec::new());
        for (_, plan) in &mut plans {
            if let Plan::Moves { new: name, existing } = plan {
                names.push(name.as_str());
                places.push(existing);
            }
        }
        if !names.is_empty() {
            for (place, found) in places.into_iter().zip(load_values(new, &names).await?) {
                *place = found;
            }
        }
        Ok::<_, BoxError>(plans)
    })
}

/// Whether the walk has come to an old key before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Visit {
    /// No: whatever has claimed its new key is another entry.
    First,
    /// Perhaps.
    Repeated,
}

/// Remembers that the new key belongs to the old key, where no inverse proves it. Returns a collision if it belongs to
/// another one.
pub(super) fn claim(
    relocation: &Relocation<'_>,
    old: &str,
    new: &str,
    visit: Visit,
    state: &mut RekeyState,
) -> Result<Option<Collision>> {
    let is_chosen = relocation.choice.is_some() && relocation.settings.part == Part::Deleting(Missing::Left);
    if relocation.inverse.is_some() || is_chosen {
        return Ok(None);
    }
    let (place, owner) = (state.hash(new), state.hash(old));
    let owners = &mut state.owners;
    if let Some(claimed) = owners.insert(place, owner)
        && (visit == Visit::First || claimed != owner)
    {
        owners.insert(place, claimed);
        return Ok(Some(Collision::shared(old, new)));
    }
    if owners.len() > MAX_REMEMBERED {
        return Err(format!(
            "more than {MAX_REMEMBERED} entries are to be moved: to prove that no two get the same key, give the re-key \
             an inverse with `with_inverse`"
        )
        .into());
    }
    Ok(None)
}

/// Forgets that a new key belongs to the old key.
pub(super) fn release(old: &str, new: &str, state: &mut RekeyState) {
    let (place, owner) = (state.hash(new), state.hash(old));
    state.owners.remove(place, owner);
}
