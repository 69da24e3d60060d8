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
/// if a prefix covers all markers, else none.
pub(super) async fn count_left_out(session: &Session<'_>, scope: &Scope) -> u64 {
    // No other prefix asks for them: it would overlap.
    let covers_markers = |prefix: &str| MARKER_PREFIX.starts_with(prefix) && prefix != MARKER_PREFIX;
    if !scope.prefixes().iter().any(covers_markers) {
        return 0;
    }
    let own = session.ledger.key("");
    let (mut number, mut cursor) = (0, None::<String>);
    for _ in 0..MAX_PAGES {
        let options = ListOptions::new(MARKER_PREFIX).with_cursor(cursor.as_deref());
        let Ok(page) = session.kv.store().list(options).await else { break };
        for key in page.keys {
            number += u64::from(!key.name.starts_with(&own) && !is_marker_metadata(key.metadata.as_ref()));
        }
        cursor = page.cursor;
        if cursor.is_none() {
            return number;
        }
    }
    AppliedMigration::UNKNOWN
}
