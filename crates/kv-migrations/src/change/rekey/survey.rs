//! Looks at all keys before anything is written: whether each can have its new key.

use super::collision::{Collision, Collisions, MAX_KEPT, refuse};
use super::mapping::Target;
use super::relocation::{Part, Relocation};
use super::state::RekeyState;
use crate::change::Job;
use crate::change::values::{LargeValues, Loaded, load_values};
use crate::change::walk::{Loading, Range, Visited, Walk, WalkEnd, over_budget};
use crate::error::{BoxError, Result};
use crate::kv::{Key, Kv, KvError};
use crate::session::Session;

/// How many new keys are remembered where no inverse proves that each has one old key.
const MAX_REMEMBERED: usize = 250_000;

/// Where an entry goes, and what is there already.
pub(super) struct Candidate {
    pub(super) target: Target,
    pub(super) existing: Loaded,
}

/// What the survey finds out about a key.
struct Finding {
    old: String,
    kind: FindingKind,
}

enum FindingKind {
    Stays,
    Free {
        new: String,
    },
    /// Something else is at its new key; perhaps only because one of the two became visible later.
    Suspect,
    /// Nothing is at its new key, from which it is to be deleted.
    Missing {
        new: String,
    },
    Collides(Collision),
}

/// Looks at all entries.
pub(super) async fn survey(
    relocation: &Relocation,
    job: &mut Job<'_>,
    state: &mut RekeyState,
) -> Result<WalkEnd> {
    let (session, large_values) = (job.session(), LargeValues::new());
    let load = |keys| -> Loading<'_, _> { Box::pin(load_candidates(relocation, session, keys)) };
    let work = |operations, key, candidate| {
        look_at(session.kv.for_entry(operations), &large_values, relocation.part, key, candidate)
    };
    let mut walk = Walk::new(session, Range::all(relocation.mapping.prefix()), &state.position);
    let result = async {
        while let Some(visited) = walk.next(load, work).await? {
            if let Visited::Entry(finding) = visited {
                job.entries().seen += 1;
                job.entries().left += u64::from(matches!(finding.kind, FindingKind::Stays));
                record(relocation, job, finding, state)?;
            }
            state.position.set(walk.position());
            let left = walk.entries_left();
            walk.during(job.save_if_due(state, left)).await?;
        }
        Ok(walk.end())
    }
    .await;
    let end = walk.finish(job, result).await?;
    if end == WalkEnd::Complete && (state.suspects.is_empty() || relocation.part.is_deleting()) {
        refuse_collisions(relocation, state)?;
    }
    Ok(end)
}

/// Looks once more, after KV's delay, at entries whose new keys seemed to be taken.
pub(super) async fn confirm(
    relocation: &Relocation,
    job: &mut Job<'_>,
    state: &mut RekeyState,
) -> Result<WalkEnd> {
    /// A list, two reads, and perhaps one of them again.
    const OPERATIONS: u64 = 4;
    let session = job.session();
    let mut is_first = true;
    while let Some((old, times)) = state.suspects.pop_first() {
        if !is_first && session.meter.left() < OPERATIONS {
            state.suspects.insert(old, times);
            return Ok(WalkEnd::Paused);
        }
        let finding = look_again(relocation, session, &old).await;
        if session.meter.is_overdrawn() {
            state.suspects.insert(old, times);
            return Ok(over_budget(job));
        }
        is_first = false;
        job.note_advance();
        match finding {
            Ok(kind) => {
                record(relocation, job, Finding { old, kind }, state)?;
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
    relocation: &Relocation,
    old: &str,
    new: &str,
    visit: Visit,
    state: &mut RekeyState,
) -> Result<Option<Collision>> {
    if relocation.inverse.is_some() {
        return Ok(None);
    }
    let hash = |key: &str| state.key.hash().with(key.as_bytes()).finish();
    let (place, owner) = (hash(new), hash(old));
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

/// Reads what is at keys in bulk, each into its place.
pub(super) async fn load_into(kv: &Kv, keys: &[&str], places: Vec<&mut Loaded>) -> Result {
    if keys.is_empty() {
        return Ok(());
    }
    for (place, found) in places.into_iter().zip(load_values(kv, keys).await?) {
        *place = found;
    }
    Ok(())
}

/// Where the entries of some keys go, and what is there.
pub(super) async fn load_candidates(
    relocation: &Relocation,
    session: &Session<'_>,
    keys: Vec<Key>,
) -> Result<Vec<(Key, Candidate)>> {
    let mut candidates = Vec::with_capacity(keys.len());
    for key in keys {
        let target = relocation.mapping.target(session, &key, relocation.inverse.as_ref())?;
        candidates.push((key, Candidate { target, existing: Loaded::Missing }));
    }
    let (mut names, mut places) = (Vec::new(), Vec::new());
    for (_, Candidate { target, existing }) in &mut candidates {
        if let Target::Moves(new) = target {
            names.push(new.as_str());
            places.push(existing);
        }
    }
    load_into(&session.kv, &names, places).await?;
    Ok(candidates)
}

/// The error where old keys are to be deleted that were not copied.
pub(super) fn too_many_missing() -> BoxError {
    format!(
        "more than {MAX_KEPT} entries have nothing at their new keys. None of them was deleted. Copy them first: register the \
         same re-key with `copying()`, under another id, before this migration. If the service has deleted them under their \
         new keys, delete their old keys with a backfill"
    )
    .into()
}

/// Whether there is nothing at a new key.
pub(super) async fn is_missing(
    kv: &Kv,
    large_values: &LargeValues,
    new: &str,
    existing: Loaded,
) -> Result<bool> {
    Ok(large_values.with_value(kv, new, existing, async |value| Ok::<_, KvError>(value.is_none())).await?)
}

async fn look_at(
    kv: Kv,
    large_values: &LargeValues,
    part: Part,
    key: Key,
    candidate: Candidate,
) -> Result<Finding> {
    let kv = &kv;
    let (old, Candidate { target, existing }) = (key.name, candidate);
    let kind = match target {
        Target::Stays => FindingKind::Stays,
        Target::NotInverted { new, inverse } => {
            FindingKind::Collides(Collision::not_inverted(&old, &new, inverse.as_deref()))
        }
        Target::Moves(new) if part.is_deleting() => {
            if is_missing(kv, large_values, &new, existing).await? {
                FindingKind::Missing { new }
            } else {
                FindingKind::Free { new }
            }
        }
        Target::Moves(new) => {
            let is_free = match existing {
                Loaded::Missing => true,
                Loaded::Large => large_values.alone(is_free_for(kv, &old, &new)).await?,
                Loaded::Value(_) | Loaded::Unread => is_free_for(kv, &old, &new).await?,
            };
            if is_free { FindingKind::Free { new } } else { FindingKind::Suspect }
        }
    };
    Ok(Finding { old, kind })
}

async fn look_again(relocation: &Relocation, session: &Session<'_>, old: &str) -> Result<FindingKind> {
    let kv = &session.kv;
    let Some(key) = kv.find(old).await? else { return Ok(FindingKind::Stays) };
    let target = relocation.mapping.target(session, &key, relocation.inverse.as_ref())?;
    let Target::Moves(new) = target else { return Ok(FindingKind::Stays) };
    Ok(if is_free_for(kv, old, &new).await? {
        FindingKind::Free { new }
    } else {
        FindingKind::Collides(Collision::occupied(old, &new))
    })
}

/// Whether nothing else is at the new key. A copy of an earlier attempt is allowed.
async fn is_free_for(kv: &Kv, old: &str, new: &str) -> Result<bool> {
    let (entry, copy) = (kv.get(old).await?, kv.get(new).await?);
    Ok(entry.is_none() || copy.is_none() || entry == copy)
}

fn record(relocation: &Relocation, job: &mut Job<'_>, finding: Finding, state: &mut RekeyState) -> Result {
    let Finding { old, kind } = finding;
    let collision = match kind {
        FindingKind::Stays => return Ok(()),
        FindingKind::Suspect => {
            state.suspects.insert(old, 1);
            None
        }
        FindingKind::Collides(collision) => Some(collision),
        FindingKind::Free { new } => {
            let collision = claim(relocation, &old, &new, Visit::First, state)?;
            if collision.is_none() {
                state.found += 1;
                job.add_done(1);
            }
            collision
        }
        FindingKind::Missing { new } => {
            let collision = claim(relocation, &old, &new, Visit::First, state)?;
            if collision.is_none() {
                state.suspects.insert(old, 1);
            }
            collision
        }
    };
    match collision {
        None => {}
        Some(collision) if relocation.collisions == Collisions::Skip => relocation.leave(collision, state)?,
        // The survey fails only when it has found all of them.
        Some(collision) => drop(state.left.insert(collision.old, collision.reason)),
    }
    if relocation.part.is_deleting() && state.suspects.len() > MAX_KEPT {
        return Err(too_many_missing());
    }
    if state.left.len() + state.suspects.len() > MAX_KEPT {
        return Err(format!(
            "more than {MAX_KEPT} entries cannot have their new keys because something else is there: give them keys of \
             their own. Nothing was written or deleted"
        )
        .into());
    }
    Ok(())
}

/// Fails with all collisions that were found, unless they are to be skipped. The next run begins the survey again.
fn refuse_collisions(relocation: &Relocation, state: &RekeyState) -> Result {
    if relocation.collisions == Collisions::Skip || state.left.is_empty() {
        return Ok(());
    }
    refuse(&state.left)
}
