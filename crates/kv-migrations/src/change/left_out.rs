//! Data that a walk leaves out because its keys begin like markers.

use super::walk::Scope;
use crate::kv::{ListOptions, StoreExt};
use crate::ledger::{MARKER_PREFIX, is_marker_metadata};
use crate::report::AppliedMigration;
use crate::session::Session;

/// After this many pages the keys are not counted any more.
const MAX_PAGES: usize = 10;

/// Counts the keys that a walk over the scope leaves out and that are not known to be markers.
/// [`UNKNOWN`](AppliedMigration::UNKNOWN) if there are too many, or KV or the budget refuses it. One operation for every 1,000
/// if a prefix covers markers that are left out, else none.
pub(super) async fn count_left_out(session: &Session<'_>, scope: &Scope) -> u64 {
    let own = session.ledger.key("");
    let is_elsewhere = scope.is_elsewhere();
    // Elsewhere only the service's own markers are left out. Here those are known, and all others are left out.
    let listed = if is_elsewhere { &*own } else { MARKER_PREFIX };
    let covers = |prefix: &str| {
        let is_within = is_elsewhere && prefix.starts_with(listed);
        is_within || listed.starts_with(prefix) && (is_elsewhere || prefix != MARKER_PREFIX)
    };
    if !scope.prefixes().iter().any(covers) {
        return 0;
    }
    let is_left_out = |name: &str| {
        if is_elsewhere { scope.prefixes().of(name).is_some() } else { !name.starts_with(&own) }
    };
    let kv = scope.kv(session);
    let (mut number, mut cursor) = (0, None::<String>);
    for _ in 0..MAX_PAGES {
        let options = ListOptions::new(listed).with_cursor(cursor.as_deref());
        let Ok(page) = kv.store().list(options).await else { break };
        for key in page.keys {
            number += u64::from(is_left_out(&key.name) && !is_marker_metadata(key.metadata.as_ref()));
        }
        cursor = page.cursor;
        if cursor.is_none() {
            return number;
        }
    }
    AppliedMigration::UNKNOWN
}
