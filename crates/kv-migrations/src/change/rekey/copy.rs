//! Writes entries to their new keys.

use super::found::Found;
use super::pass::{Pass, Tools, run};
use super::plan::Plan;
use super::relocation::{Part, Relocation, expires_soon};
use super::state::RekeyState;
use super::verify::verify_first_page;
use super::writer::{NewEntry, Place};
use crate::change::Job;
use crate::change::values::Loaded;
use crate::change::walk::WalkEnd;
use crate::error::Result;
use crate::future::BoxFuture;
use crate::kv::Key;

struct Copying<'a>(&'a Relocation<'a>);

/// Copies a batch of entries. Stopped when the batch is full.
pub(super) async fn copy(
    relocation: &Relocation<'_>,
    job: &mut Job<'_>,
    state: &mut RekeyState,
) -> Result<WalkEnd> {
    if !state.copied.is_empty() && relocation.by_value.is_none() {
        let end = verify_first_page(relocation, job, state).await?;
        if end != WalkEnd::Stopped {
            return Ok(end);
        }
    }
    run(&Copying(relocation), job, state).await
}

impl Pass for Copying<'_> {
    fn relocation(&self) -> &Relocation<'_> {
        self.0
    }

    fn work<'a>(&'a self, tools: Tools<'a>, key: Key, plan: Plan) -> BoxFuture<'a, Result<Found>> {
        Box::pin(self.follow(tools, key, plan))
    }
}

impl Copying<'_> {
    async fn follow(&self, tools: Tools<'_>, key: Key, plan: Plan) -> Result<Found> {
        let (new, existing) = match Found::unless_it_moves(plan) {
            Ok(to) => to,
            Err(found) => return Ok(found),
        };
        let copy = |place| self.copy_entry(&tools, &key, new, place);
        match existing {
            // The service writes both keys: what is at the new one is its own. The sweep compares them.
            Loaded::Value(_) if self.0.settings.part == Part::Copying => Ok(Found::Nothing),
            _ if expires_soon(&tools.old, &key) => Ok(Found::Nothing),
            Loaded::Missing => copy(Place::Free).await,
            Loaded::Large => tools.large_values.alone(copy(Place::Occupied)).await,
            Loaded::Value(_) | Loaded::Unread => copy(Place::Occupied).await,
        }
    }

    /// Copies an entry. Where something is at the new key, it may be a copy that was made after the last checkpoint.
    async fn copy_entry(&self, tools: &Tools<'_>, key: &Key, new: String, place: Place) -> Result<Found> {
        let (old, kv) = (&tools.old, &tools.new);
        let Some(mut entry) = old.get(&key.name).await? else { return Ok(Found::Nothing) };
        old.note_values(1, entry.value.len());
        if let Some(record) = self.0.recheck(tools.session, key, &mut entry, &new)? {
            return Ok(Found::Recorded(record));
        }
        let hash = tools.writer.hash_key();
        let copied =
            match NewEntry::new(self.0.changing.as_deref(), hash, kv, key, entry, new.clone()).await? {
                Ok(copied) => copied,
                Err(collision) => return Ok(Found::Left(collision)),
            };
        if place == Place::Occupied
            && let Some(copy) = kv.get(&new).await?
        {
            if self.0.settings.part == Part::Copying {
                return Ok(Found::Nothing);
            }
            if copy != copied.entry {
                return Ok(Found::Unsettled);
            }
        }
        tools.writer.write(kv, copied, place).await?;
        Ok(Found::Copied)
    }
}
