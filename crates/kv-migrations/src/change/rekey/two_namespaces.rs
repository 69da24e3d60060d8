//! Proves that the old and the new keys of a re-key are in two namespaces, before anything is deleted.
//!
//! Two bindings may be of one namespace. There an entry that keeps its key would be its own copy, and be deleted. No binding
//! tells its namespace, so that the re-key writes a key to the one and looks for it in the other.

use super::relocation::{ProveDistinct, Relocation};
use super::state::RekeyState;
use crate::change::Job;
use crate::change::walk::{WalkEnd, over_budget};
use crate::error::Result;
use crate::future::BoxFuture;
use crate::kv::{Expiration, PutOptions, StoreExt};
use crate::session::Session;

/// The key, behind what the markers of the service begin with: that is no data in any namespace.
const KEY: &str = ".namespace";
/// How long it stays if nothing deletes it: a day.
const EXPIRES_AFTER: u64 = 24 * 60 * 60;

const SAME: &str = "the old and the new keys are in the same namespace: two bindings are of one, or one is named twice. Nothing was \
    deleted, and each entry has its old key. Correct the bindings in wrangler.toml. For new keys in the namespace of the old ones \
    leave `in_namespace` and `into_namespace` out, reset the migration, and delete the copies that it has made";

pub(super) struct TwoNamespaces;

impl ProveDistinct for TwoNamespaces {
    fn begin<'a>(
        &'a self,
        relocation: &'a Relocation<'_>,
        job: &'a Job<'_>,
        state: &'a RekeyState,
    ) -> BoxFuture<'a, Result<WalkEnd>> {
        Box::pin(async move { end(job, write(relocation, job.session(), state).await) })
    }

    fn prove<'a>(
        &'a self,
        relocation: &'a Relocation<'_>,
        job: &'a mut Job<'_>,
        state: &'a mut RekeyState,
    ) -> BoxFuture<'a, Result<WalkEnd>> {
        Box::pin(async move {
            if state.is_distinct {
                return Ok(WalkEnd::Complete);
            }
            let result = look(relocation, job.session(), state).await;
            match end(job, result)? {
                WalkEnd::Complete => state.is_distinct = true,
                WalkEnd::Stopped => {
                    state.wait_until = Some(relocation.visible_at(job.session()));
                    job.save(state).await?;
                    return Ok(WalkEnd::Stopped);
                }
                end => return Ok(end),
            }
            Ok(WalkEnd::Complete)
        })
    }
}

/// An operation that the budget does not cover is a pause.
fn end(job: &Job<'_>, result: Result<WalkEnd>) -> Result<WalkEnd> {
    if job.session().meter.is_overdrawn() { Ok(over_budget(job)) } else { result }
}

fn value(state: &RekeyState) -> Vec<u8> {
    state.hash(KEY).to_string().into_bytes()
}

/// Writes the key. Stopped: it is seen later.
async fn write(relocation: &Relocation<'_>, session: &Session<'_>, state: &RekeyState) -> Result<WalkEnd> {
    let options = PutOptions::new().with_expiration(Some(Expiration::After(EXPIRES_AFTER)));
    relocation.new.store().put(&session.ledger.key(KEY), &value(state), &options).await?;
    Ok(WalkEnd::Stopped)
}

/// Looks for the key. Stopped if it is not there any more and was written again.
async fn look(relocation: &Relocation<'_>, session: &Session<'_>, state: &RekeyState) -> Result<WalkEnd> {
    let (key, written) = (session.ledger.key(KEY), Some(value(state)));
    if relocation.new.bytes(&key).await? != written {
        return write(relocation, session, state).await;
    }
    if relocation.old.bytes(&key).await? == written {
        return Err(SAME.into());
    }
    relocation.new.delete(&key).await?;
    Ok(WalkEnd::Complete)
}
