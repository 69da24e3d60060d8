//! Deletes the old keys of entries that have new ones, where an earlier migration has copied them.
//!
//! The service writes only new keys by now, so what is at a new key wins. Each entry is looked at twice, KV's delay apart:
//! the survey was the first look.

use std::collections::BTreeMap;

use super::collision::{Collision, Collisions};
use super::found::Found;
use super::pass::{Pass, Tools, run};
use super::plan::Plan;
use super::relocation::{Missing, Part, Relocation, expires_soon};
use super::state::RekeyState;
use super::verdict::MAX_SIGHTINGS;
use super::writer::{NewEntry, Place};
use crate::change::Job;
use crate::change::values::Loaded;
use crate::change::walk::WalkEnd;
use crate::error::Result;
use crate::future::BoxFuture;
use crate::kv::Key;

struct Deleting<'a> {
    relocation: &'a Relocation<'a>,
    /// The old keys that had nothing at their new keys, and how often that was seen.
    missing: BTreeMap<String, u32>,
}

/// Looks at all entries again.
pub(super) async fn delete(
    relocation: &Relocation<'_>,
    job: &mut Job<'_>,
    state: &mut RekeyState,
) -> Result<WalkEnd> {
    let deleting = Deleting { relocation, missing: state.suspects.clone() };
    run(&deleting, job, state).await
}

impl Pass for Deleting<'_> {
    fn relocation(&self) -> &Relocation<'_> {
        self.relocation
    }

    fn work<'a>(&'a self, tools: Tools<'a>, key: Key, plan: Plan) -> BoxFuture<'a, Result<Found>> {
        Box::pin(self.look(tools, key, plan))
    }
}

impl Deleting<'_> {
    async fn look(&self, tools: Tools<'_>, key: Key, plan: Plan) -> Result<Found> {
        let (new, existing) = match Found::unless_it_moves(plan) {
            Ok(to) => to,
            Err(found) => return Ok(found),
        };
        let is_large = matches!(existing, Loaded::Large);
        if let Some(record) = tools.recheck(self.relocation, &key, &new, is_large).await? {
            return Ok(Found::Recorded(record));
        }
        let sightings = self.missing.get(&key.name).copied();
        if tools.is_missing(&new, existing).await? {
            return self.handle_missing(&tools, key, new, sightings.unwrap_or(0).saturating_add(1)).await;
        }
        if sightings.is_some() {
            // There is something at its new key since the last look.
            return Ok(Found::Unsettled);
        }
        let (kv, old) = (&tools.old, &key.name);
        // An entry that could not be copied has another one at its new key.
        if self.relocation.settings.collisions == Collisions::Skip
            && kv.get(old).await? != tools.new.get(&new).await?
        {
            return Ok(Found::Left(Collision::different(old, &new)));
        }
        kv.delete(old).await?;
        Ok(Found::Moved)
    }

    async fn handle_missing(
        &self,
        tools: &Tools<'_>,
        key: Key,
        new: String,
        sightings: u32,
    ) -> Result<Found> {
        if expires_soon(&tools.old, &key) {
            return Ok(Found::Nothing);
        }
        if sightings > 1 {
            if self.relocation.settings.part == Part::Deleting(Missing::Left) || sightings > MAX_SIGHTINGS {
                return Ok(Found::Left(Collision::missing(&key.name, &new)));
            }
            let Some(mut entry) = tools.old.get(&key.name).await? else { return Ok(Found::Nothing) };
            if let Some(record) = self.relocation.recheck(tools.session, &key, &mut entry, &new)? {
                return Ok(Found::Recorded(record));
            }
            let hash = tools.writer.hash_key();
            match NewEntry::new(self.relocation.changing.as_deref(), hash, &tools.new, &key, entry, new)
                .await?
            {
                Ok(copy) => tools.writer.write(&tools.new, copy, Place::Free).await?,
                Err(collision) => return Ok(Found::Left(collision)),
            }
        }
        Ok(Found::Missing { old: key.name, sightings })
    }
}
