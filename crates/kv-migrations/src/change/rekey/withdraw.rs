//! Deletes copies under keys that their entries no longer get, where nothing else was written since.

use super::attempts::look_and_delete;
use super::collision::Collision;
use super::copies::{CopyHash, fingerprint};
use super::plan::release;
use super::relocation::{Relocation, leave};
use super::state::RekeyState;
use super::targets::OutdatedCopy;
use crate::change::Job;
use crate::change::hash::HashKey;
use crate::change::walk::{WalkEnd, over_budget};
use crate::error::Result;
use crate::kv::{Entry, Kv};
use crate::sabotage::{self, Defect};

/// Three reads, a list and a deletion, with one more time.
const OPERATIONS: u64 = 8;

/// Withdraws all of them.
pub(super) async fn withdraw(
    relocation: &Relocation<'_>,
    job: &mut Job<'_>,
    state: &mut RekeyState,
) -> Result<WalkEnd> {
    let session = job.session();
    let mut is_first = true;
    while let Some((new, copy)) = state.targets.first_outdated() {
        if !is_first && session.meter.left() < OPERATIONS {
            return Ok(WalkEnd::Paused);
        }
        let (new, old) = (new.to_owned(), copy.old.clone());
        let withdraw = async |kv| withdraw_copy(relocation, &kv, state, &new, copy).await;
        let result = look_and_delete(session, &relocation.new, &new, withdraw).await;
        if session.meter.is_overdrawn() {
            return Ok(over_budget(job));
        }
        let is_elsewhere = relocation.distinct.is_some();
        match result? {
            Withdrawn::Gone => {}
            Withdrawn::Other => leave(Collision::outdated(&new, &old, is_elsewhere), state)?,
            Withdrawn::Last => leave(Collision::last_copy(&new, &old, is_elsewhere), state)?,
        }
        is_first = false;
        state.targets.remove_outdated(&new);
        release(&old, &new, state);
        job.note_advance();
        job.save_if_due(state, None).await?;
    }
    Ok(WalkEnd::Complete)
}

enum Withdrawn {
    Gone,
    /// Something else is there.
    Other,
    /// The copy is there, and the entry is nowhere else.
    Last,
}

/// Whether this is a copy that the re-key has written.
fn is_of_rekey(key: HashKey, copy: &OutdatedCopy, entry: &Entry, expiration: Option<u64>) -> bool {
    let (old, value, metadata) = (&*copy.old, &*entry.value, entry.metadata.as_ref());
    if copy.written.is_empty() {
        copy.fingerprints.contains(&fingerprint(key, old, value, metadata, expiration))
    } else {
        copy.written.contains(&CopyHash::new(key, old, value, metadata, expiration))
    }
}

/// Whether the entry of an old key is under the key that it gets by now, or still under the old one. Another run may have
/// deleted it, by what it had read before the entry got another key.
async fn has_entry(relocation: &Relocation<'_>, state: &RekeyState, old: &str) -> Result<bool> {
    if let Some(new) = state.targets.get(old)
        && relocation.new.bytes(new).await?.is_some()
    {
        return Ok(true);
    }
    Ok(relocation.old.bytes(old).await?.is_some())
}

async fn withdraw_copy(
    relocation: &Relocation<'_>,
    kv: &Kv,
    state: &RekeyState,
    new: &str,
    copy: &OutdatedCopy,
) -> Result<Withdrawn> {
    let Some(entry) = kv.get(new).await? else { return Ok(Withdrawn::Gone) };
    let expiration = kv.find(new).await?.and_then(|listed| listed.expiration);
    if !is_of_rekey(state.key, copy, &entry, expiration) {
        return Ok(Withdrawn::Other);
    }
    if !has_entry(relocation, state, &copy.old).await? {
        return Ok(Withdrawn::Last);
    }
    if !sabotage::is_on(Defect::OutdatedCopiesStay) {
        kv.delete(new).await?;
    }
    Ok(Withdrawn::Gone)
}
