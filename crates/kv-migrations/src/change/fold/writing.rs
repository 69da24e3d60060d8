//! Which outputs of a fold are written, and what is to be deleted because a changed fold no longer produces it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::output::Output;
use crate::change::hash::HashKey;
use crate::error::Result;
use crate::kv::KvError;

/// How many written keys a checkpoint remembers.
const MAX_REMEMBERED: usize = 10_000;
/// How often the outputs may be others than before.
const MAX_DIFFERENCES: u32 = 2;

/// How far a fold has written its outputs.
#[derive(Serialize, Deserialize)]
pub(super) struct Writing {
    /// The key of all hashes.
    pub(super) key: HashKey,
    /// The hash of all outputs, once there are any.
    digest: Option<u64>,
    /// How many outputs are written, in the order of their keys.
    pub(super) done: usize,
    /// The keys that are written, with the hash of what was.
    written: BTreeMap<String, u64>,
    /// Whether there are more of them than it remembers.
    has_forgotten: bool,
    /// The keys that were written when the outputs were others, with the hashes of what was.
    stale: BTreeMap<String, Vec<u64>>,
    /// How often the outputs were others than before.
    differences: u32,
}

impl Writing {
    pub(super) fn new(key: HashKey) -> Self {
        Self {
            key,
            digest: None,
            done: 0,
            written: BTreeMap::new(),
            has_forgotten: false,
            stale: BTreeMap::new(),
            differences: 0,
        }
    }

    /// Continues with these outputs, in the order of their keys; from the first one if they are others than before.
    ///
    /// # Errors
    /// If they are others too often, or if it is not known any more which keys are written. `id` is that of the migration.
    pub(super) fn resume(&mut self, outputs: &[Output], id: &str) -> Result {
        let hashes = outputs.iter().map(|output| output.hash(self.key).to_le_bytes());
        let digest = hashes.fold(self.key.hash(), |digest, hash| digest.with(&hash)).finish();
        if self.digest == Some(digest) {
            return Ok(());
        }
        if self.has_forgotten {
            let done = self.done;
            return Err(format!(
                "`close` returns other outputs than before, when {done} of them were written. A fold writes its outputs again only \
                 while it has written at most {MAX_REMEMBERED} keys, which it remembers. Nothing more was written, and \
                 nothing deleted. Restore the earlier version, and migrate again. Or reset it to start over: POST \
                 /migrations/{id}/reset; then the keys that only the earlier version writes stay, and are yours to delete"
            )
            .into());
        }
        (self.digest, self.done) = (Some(digest), 0);
        for (key, hash) in std::mem::take(&mut self.written) {
            self.stale.entry(key).or_default().push(hash);
        }
        if self.stale.is_empty() {
            return Ok(());
        }
        self.differences = self.differences.saturating_add(1);
        if self.differences > MAX_DIFFERENCES {
            let keys = self.stale.len();
            return Err(format!(
                "`close` returns other outputs than before, for the {}rd time or more: {keys} keys hold earlier ones. It \
                 must return the same for the same state: without the time, random values, or the order of a `HashMap`. \
                 If you have changed the migration, migrate again: it then writes its outputs again",
                MAX_DIFFERENCES + 1
            )
            .into());
        }
        Ok(())
    }

    /// Notes which of the next outputs are written. What failed may be written all the same, unless KV refused it.
    pub(super) fn note(&mut self, outputs: &[Output], results: &[Result<(), KvError>]) {
        let written = results.iter().take_while(|result| result.is_ok()).count();
        self.done = self.done.saturating_add(written);
        for (output, result) in outputs.iter().zip(results) {
            let is_written = result.as_ref().err().is_none_or(KvError::may_have_written);
            let Some(hash) = output.entry_hash(self.key).filter(|_| is_written) else { continue };
            let has_room = self.written.len() + self.stale.len() < MAX_REMEMBERED;
            if has_room || self.written.contains_key(&output.key) {
                self.written.insert(output.key.clone(), hash);
            } else {
                self.has_forgotten = true;
            }
        }
    }

    /// The first keys, at most this many, that hold an earlier output and are none of these outputs, which are in the order
    /// of their keys; each with the hashes of what was written.
    pub(super) fn stale(&mut self, outputs: &[Output], max: usize) -> Vec<(String, Vec<u64>)> {
        let is_output = |key: &String| outputs.binary_search_by(|output| output.key.cmp(key)).is_ok();
        self.stale.retain(|key, _| !is_output(key));
        self.stale.iter().take(max).map(|(key, hashes)| (key.clone(), hashes.clone())).collect()
    }

    /// Notes that a key holds an earlier output no longer.
    pub(super) fn forget(&mut self, key: &str) {
        self.stale.remove(key);
    }
}
