//! Looks at an entry again if KV refuses to delete it.

use std::time::Duration;

use crate::error::Result;
use crate::kv::{EntryOperations, HighestCost, Kv, PAUSES};
use crate::session::Session;

/// Does work that looks at `key` and deletes it. If KV refuses the deletion with 429, somebody else wrote the key a moment
/// ago: then the work is done again after a pause.
pub(super) async fn look_and_delete<T>(
    session: &Session<'_>,
    namespace: &Kv,
    key: &str,
    work: impl AsyncFn(Kv) -> Result<T>,
) -> Result<T> {
    let mut pauses = PAUSES.iter();
    loop {
        let pause = pauses.next();
        let own_keys = pause.map(|_| key);
        let operations = EntryOperations::new(&HighestCost::default()).begin_attempt(own_keys.as_slice());
        let result = work(namespace.for_entry(operations.clone())).await;
        match pause.filter(|_| operations.has_conflict()) {
            Some(seconds) => session.sleep(Duration::from_secs(*seconds)).await,
            None => return result,
        }
    }
}
