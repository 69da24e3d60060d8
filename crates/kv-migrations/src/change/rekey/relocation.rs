//! A re-key in one direction: what all its phases share.

use std::time::Duration;

use super::collision::{Collision, Collisions, MAX_KEPT};
use super::entry::expires_soon_at;
use super::mapping::{Mapping, Target};
use super::state::{RekeyPhase, RekeyState};
use super::writer::Changing;
use crate::change::Job;
use crate::change::walk::WalkEnd;
use crate::clock::seconds;
use crate::error::Result;
use crate::future::BoxFuture;
use crate::kv::{Entry, Key, Kv};
use crate::sabotage::{self, Defect};
use crate::session::Session;

/// Which part of the move a migration makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// It copies entries and deletes the old keys.
    Whole,
    /// It copies entries: the service writes both keys.
    Copying,
    /// It deletes the old keys of entries that have new ones: the service writes only those.
    Deleting(Missing),
}

/// What becomes of an entry that has nothing at its new key, though it should have been copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// It is left: the service may have deleted it under its new key.
    Left,
    Copied,
}

impl Part {
    pub(super) fn is_deleting(self) -> bool {
        matches!(self, Self::Deleting(_))
    }

    /// What checkpoints call it.
    pub(super) fn kind(self, is_changing: bool) -> &'static str {
        match (self, is_changing) {
            (Self::Whole, false) => "re-key",
            (Self::Copying, false) => "re-key, copying",
            (Self::Deleting(_), false) => "re-key, deleting",
            (Self::Whole, true) => "re-key, changing",
            (Self::Copying, true) => "re-key, copying and changing",
            (Self::Deleting(_), true) => "re-key, deleting and changing",
        }
    }

    /// The part that undoes this one.
    pub(super) fn inverse(self) -> Self {
        match self {
            Self::Whole => Self::Whole,
            Self::Copying => Self::Deleting(Missing::Left),
            Self::Deleting(_) => Self::Copying,
        }
    }
}

/// What a re-key is told.
#[derive(Clone, Copy)]
pub(super) struct Settings {
    pub(super) part: Part,
    pub(super) collisions: Collisions,
    /// How long KV may take to show a write everywhere.
    pub(super) delay: Duration,
}

/// Says which of several entries gets their new key. A trait object, so that only a re-key that chooses has the code.
pub(super) trait Choose: Send + Sync {
    /// Does one of the phases of the choice.
    fn run<'a>(
        &'a self,
        phase: RekeyPhase,
        relocation: &'a Relocation<'_>,
        job: &'a mut Job<'_>,
        state: &'a mut RekeyState,
    ) -> BoxFuture<'a, Result<WalkEnd>>;

    /// Why it cannot choose where the mapping sees values.
    fn refusal(&self) -> String;
}

/// A re-key in one direction.
pub(super) struct Relocation<'a> {
    pub(super) settings: Settings,
    /// The namespace of the old keys, and that of the new ones.
    pub(super) old: Kv,
    pub(super) new: Kv,
    pub(super) mapping: Mapping<'a>,
    /// Proves that no two old keys have the same new key.
    pub(super) inverse: Option<Mapping<'a>>,
    /// If the mapping sees values.
    pub(super) by_value: Option<&'static dyn ValueSteps>,
    /// Says which of several entries gets their new key.
    pub(super) choice: Option<&'a dyn Choose>,
    /// Changes entries on their way.
    pub(super) changing: Option<Box<dyn Changing + 'a>>,
    /// If the old and the new keys are said to be in two namespaces.
    pub(super) distinct: Option<&'static dyn ProveDistinct>,
}

/// Proves that the old and the new keys are in two namespaces. A trait object, so that only a re-key that names one has the
/// code.
pub(super) trait ProveDistinct: Send + Sync {
    /// Writes what the proof looks at later than KV's delay.
    fn begin<'a>(
        &'a self,
        relocation: &'a Relocation<'_>,
        job: &'a Job<'_>,
        state: &'a RekeyState,
    ) -> BoxFuture<'a, Result<WalkEnd>>;

    /// Proves it, before anything is deleted. Stopped if it has to wait.
    fn prove<'a>(
        &'a self,
        relocation: &'a Relocation<'_>,
        job: &'a mut Job<'_>,
        state: &'a mut RekeyState,
    ) -> BoxFuture<'a, Result<WalkEnd>>;
}

/// What a re-key does in another way if its mapping sees values. A trait object, so that only the wasm of those who have such
/// a mapping contains it.
pub(super) trait ValueSteps: Send + Sync {
    /// Makes a phase that goes over all entries or that no other re-key has.
    fn run<'a>(
        &'a self,
        phase: RekeyPhase,
        relocation: &'a Relocation<'a>,
        job: &'a mut Job<'_>,
        state: &'a mut RekeyState,
    ) -> BoxFuture<'a, Result<WalkEnd>>;

    /// Where an entry goes that was read byte for byte. It stays in its place.
    fn target(
        &self,
        relocation: &Relocation<'_>,
        session: &Session<'_>,
        key: &Key,
        entry: &mut Entry,
    ) -> Result<Target>;

    /// Whether an entry with this value still gets this key.
    fn is_current(
        &self,
        relocation: &Relocation<'_>,
        session: &Session<'_>,
        key: &Key,
        value: Vec<u8>,
        new: &str,
    ) -> bool;

    /// Notes that an entry gets another key by now, or none.
    fn retarget(&self, old: String, target: Target) -> BoxRecord;
}

/// Records what was found.
pub(super) type BoxRecord = Box<dyn FnOnce(&Relocation<'_>, &mut RekeyState) -> Result>;

impl Relocation<'_> {
    /// Where an entry goes that is not left.
    pub(super) fn target(&self, session: &Session<'_>, key: &Key, state: &RekeyState) -> Result<Target> {
        if state.left.contains_key(&key.name) || state.contests.is_lost(&key.name) {
            return Ok(Target::Stays);
        }
        if self.by_value.is_some() {
            let planned = state.targets.get(&key.name);
            return Ok(planned.map_or(Target::Stays, |new| Target::Moves(new.to_owned())));
        }
        self.mapping.target(session, key, self.inverse.as_ref())
    }

    /// Whether the mapping gives an entry another key than the one that was planned, now that it was read byte for byte.
    pub(super) fn recheck(
        &self,
        session: &Session<'_>,
        key: &Key,
        entry: &mut Entry,
        planned: &str,
    ) -> Result<Option<BoxRecord>> {
        let Some(by_value) = self.by_value.filter(|_| !sabotage::is_on(Defect::MappedOnce)) else {
            return Ok(None);
        };
        Ok(match by_value.target(self, session, key, entry)? {
            Target::Moves(new) if new == planned => None,
            target => Some(by_value.retarget(key.name.clone(), target)),
        })
    }

    /// Where an entry goes, once it is found; none if it is gone.
    pub(super) async fn target_now(&self, session: &Session<'_>, key: &Key) -> Result<Option<Target>> {
        let Some(by_value) = self.by_value else {
            return self.mapping.target(session, key, self.inverse.as_ref()).map(Some);
        };
        let Some(mut entry) = self.old.get(&key.name).await? else { return Ok(None) };
        by_value.target(self, session, key, &mut entry).map(Some)
    }

    /// Leaves the entry at its old key, or fails.
    pub(super) fn leave(&self, collision: Collision, state: &mut RekeyState) -> Result {
        if self.settings.collisions == Collisions::Skip {
            return leave(collision, state);
        }
        if !state.is_surveying() {
            if self.settings.part == Part::Whole {
                // The sweeps so far, also those that saw it again, do not tell whether the service still writes old keys.
                state.sweeps = 0;
            }
            return Err(collision.into_error());
        }
        // The survey fails only when it has found all of them.
        state.left.insert(collision.old, collision.reason);
        Ok(())
    }

    /// Begins a sweep that found too much again: the next run looks at all of the batch once more, later than KV's delay.
    pub(super) fn begin_sweep_again(&self, session: &Session<'_>, state: &mut RekeyState) {
        state.end_sweep();
        state.position = state.batch.clone();
        state.wait_until = Some(self.visible_at(session));
        state.needs_sweep = false;
    }

    /// When a write that is made now is visible everywhere, in seconds since 1970.
    pub(super) fn visible_at(&self, session: &Session<'_>) -> u64 {
        if self.settings.delay.is_zero() {
            return 0;
        }
        // One more, for the fraction of a second that is cut off.
        seconds(session.now()).saturating_add(self.settings.delay.as_secs()).saturating_add(1)
    }
}

/// Leaves the entry at its old key, and remembers why.
pub(super) fn leave(collision: Collision, state: &mut RekeyState) -> Result {
    if state.left.len() == MAX_KEPT {
        return Err(format!(
            "more than {MAX_KEPT} entries would stay at their old keys because they cannot have their new keys, or have \
             nothing there. What is moved stays moved. Give the others keys of their own, or copy them first. Then reset \
             the migration, to start over: POST /migrations/{{id}}/reset"
        )
        .into());
    }
    state.left.insert(collision.old, collision.reason);
    Ok(())
}

/// Whether an entry is left to expire.
pub(super) fn expires_soon(kv: &Kv, key: &Key) -> bool {
    expires_soon_at(kv, key.expiration)
}
