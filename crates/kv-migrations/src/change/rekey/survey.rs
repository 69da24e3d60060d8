//! Looks at all keys before anything is written: whether each can have its new key.

use super::collision::{Collision, Collisions, refuse};
use super::entry::MovingEntry;
use super::found::Found;
use super::pass::{Pass, Tools, run};
use super::plan::{Plan, load_existing, plan_all};
use super::relocation::{Part, Relocation};
use super::state::RekeyState;
use crate::change::Job;
use crate::change::values::Loaded;
use crate::change::walk::{Loading, WalkEnd, over_budget};
use crate::error::Result;
use crate::future::BoxFuture;
use crate::kv::{Key, Kv};
use crate::session::Session;

struct Surveying<'a>(&'a Relocation<'a>);

/// Looks at all entries.
pub(super) async fn survey(
    relocation: &Relocation<'_>,
    job: &mut Job<'_>,
    state: &mut RekeyState,
) -> Result<WalkEnd> {
    survey_by(&Surveying(relocation), job, state).await
}

/// Looks at all entries by this pass.
pub(super) async fn survey_by(pass: &dyn Pass, job: &mut Job<'_>, state: &mut RekeyState) -> Result<WalkEnd> {
    let relocation = pass.relocation();
    let end = run(pass, job, state).await?;
    if end == WalkEnd::Complete && (state.suspects.is_empty() || relocation.settings.part.is_deleting()) {
        refuse_collisions(relocation, state)?;
    }
    Ok(end)
}

impl Pass for Surveying<'_> {
    fn relocation(&self) -> &Relocation<'_> {
        self.0
    }

    fn load<'a>(&'a self, session: &'a Session<'a>, keys: Vec<Key>, _: &mut RekeyState) -> Loading<'a, Plan> {
        let Self(relocation) = self;
        let mut plan = |key: &Key| {
            let target = relocation.mapping.target(session, key, relocation.inverse.as_ref())?;
            Ok(Plan::of_target(target))
        };
        load_existing(&relocation.new, plan_all(keys, &mut plan))
    }

    fn work<'a>(&'a self, tools: Tools<'a>, key: Key, plan: Plan) -> BoxFuture<'a, Result<Found>> {
        Box::pin(look(self.0, tools, key, plan))
    }
}

/// Looks at the new key of an entry.
pub(super) async fn look(
    relocation: &Relocation<'_>,
    tools: Tools<'_>,
    key: Key,
    plan: Plan,
) -> Result<Found> {
    let old = key.name.clone();
    let (new, existing) = match Found::unless_it_moves(plan) {
        Ok(to) => to,
        Err(found) => return Ok(found),
    };
    if relocation.settings.part.is_deleting() {
        let is_missing = tools.is_missing(&new, existing).await?;
        return Ok(if is_missing { Found::Absent { old, new } } else { Found::Free { old, new } });
    }
    let is_free = match existing {
        Loaded::Missing => true,
        Loaded::Large => {
            tools.large_values.alone(is_free_for(relocation, &tools.old, &tools.new, &key, &new)).await?
        }
        Loaded::Value(_) | Loaded::Unread => {
            is_free_for(relocation, &tools.old, &tools.new, &key, &new).await?
        }
    };
    Ok(if is_free {
        Found::Free { old, new }
    } else if relocation.settings.collisions == Collisions::KeepNew {
        Found::Superseded { old, new }
    } else {
        Found::Taken { old }
    })
}

/// Looks once more, after KV's delay, at entries whose new keys seemed to be taken.
pub(super) async fn confirm(
    relocation: &Relocation<'_>,
    job: &mut Job<'_>,
    state: &mut RekeyState,
) -> Result<WalkEnd> {
    /// A list, a read for the mapping, two reads, and perhaps one of them again.
    const OPERATIONS: u64 = 5;
    let session = job.session();
    let mut is_first = true;
    while let Some((old, times)) = state.suspects.pop_first() {
        if !is_first && session.meter.left() < OPERATIONS {
            state.suspects.insert(old, times);
            return Ok(WalkEnd::Paused);
        }
        let found = look_again(relocation, session, &old).await;
        if session.meter.is_overdrawn() {
            state.suspects.insert(old, times);
            return Ok(over_budget(job));
        }
        is_first = false;
        job.note_advance();
        match found {
            Ok(found) => {
                found.record(relocation, job, state)?;
                job.save_if_due(state, Some(state.suspects.len())).await?;
            }
            Err(error) => {
                state.suspects.insert(old, times);
                return Err(error);
            }
        }
    }
    refuse_collisions(relocation, state)?;
    Ok(WalkEnd::Complete)
}

async fn look_again(relocation: &Relocation<'_>, session: &Session<'_>, old: &str) -> Result<Found> {
    let Some(key) = relocation.old.find(old).await? else { return Ok(Found::Nothing) };
    let Some(target) = relocation.target_now(session, &key).await? else { return Ok(Found::Nothing) };
    let new = match Found::unless_it_moves(Plan::of_target(target)) {
        Ok((new, _)) => new,
        Err(found) => return Ok(found),
    };
    Ok(if is_free_for(relocation, &relocation.old, &relocation.new, &key, &new).await? {
        Found::Free { old: old.to_owned(), new }
    } else {
        Found::Collides(Collision::occupied(old, &new))
    })
}

/// Whether nothing else is at the new key. The same as the copy would be is allowed: it may be that of an earlier attempt.
async fn is_free_for(
    relocation: &Relocation<'_>,
    old_kv: &Kv,
    new_kv: &Kv,
    key: &Key,
    new: &str,
) -> Result<bool> {
    let (entry, copy) = (old_kv.get(&key.name).await?, new_kv.get(new).await?);
    let (Some(entry), Some(copy)) = (entry, copy) else { return Ok(true) };
    let Some(changing) = &relocation.changing else { return Ok(entry == copy) };
    if relocation.settings.part == Part::Copying {
        // The service writes both keys, and knows alone what belongs at the new one.
        return Ok(true);
    }
    let changed = changing.change(MovingEntry::new(key, entry), new).await?;
    Ok(changed.into_parts(new_kv.now_seconds()).0 == copy)
}

/// Fails with all collisions that were found, unless they are to be skipped. The next run begins the survey again.
fn refuse_collisions(relocation: &Relocation<'_>, state: &RekeyState) -> Result {
    if relocation.settings.collisions == Collisions::Skip || state.left.is_empty() {
        return Ok(());
    }
    refuse(&state.left)
}
