//! The metadata of a marker as it is written, within KV's limit.

use serde::Serialize;

use super::marker::AppliedRecord;
use crate::kv::Metadata;
use crate::kv::limits::MAX_METADATA_BYTES;
use crate::report::{Direction, EntryCounts, FailedEntry, Progress};

/// The most keys of skipped entries in a marker, and the most bytes of each.
pub(super) const MAX_KEYS: usize = 30;
const MAX_KEY_BYTES: usize = 64;

/// The fields as they are written. The TypeScript runner reads only `runAt`.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenMetadata<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    run_at: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_at: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint_at: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<Direction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries_per_second: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operations: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    moved: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    failed_keys: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    out_of_order: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl WrittenMetadata<'_> {
    fn of_entries(entries: Option<EntryCounts>) -> Self {
        Self {
            seen: entries.map(|entries| entries.seen),
            changed: entries.map(|entries| entries.changed),
            moved: entries.map(|entries| entries.moved),
            left: entries.map(|entries| entries.left),
            ..Self::default()
        }
    }
}

/// A failure to be recorded.
pub(crate) struct FailureRecord<'a> {
    /// ISO 8601.
    pub(crate) at: &'a str,
    pub(crate) reason: &'a str,
}

pub(super) fn encode_applied(service: &str, applied: &AppliedRecord) -> Metadata {
    fitting(WrittenMetadata {
        run_at: applied.run_at.as_deref(),
        prefix: Some(service),
        duration_ms: applied.duration_ms,
        operations: applied.operations,
        failed: (applied.failed > 0).then_some(applied.failed),
        failed_keys: applied.failed_keys.clone(),
        out_of_order: applied.is_out_of_order.then_some(true),
        ..WrittenMetadata::of_entries(applied.entries)
    })
}

/// The metadata of a migration that is not finished, or that failed, or both.
pub(super) fn encode_unfinished(
    service: &str,
    progress: Option<&Progress>,
    failed: Option<&FailureRecord<'_>>,
) -> Metadata {
    let mut fields = WrittenMetadata {
        failed_at: failed.map(|failed| failed.at),
        prefix: Some(service),
        error: failed.map(|failed| failed.reason.to_owned()),
        ..WrittenMetadata::of_entries(progress.map(|progress| progress.entries))
    };
    if let Some(progress) = progress {
        fields = WrittenMetadata {
            started_at: Some(&progress.started_at),
            checkpoint_at: Some(&progress.checkpoint_at),
            direction: Some(progress.direction),
            phase: Some(progress.phase.name()),
            done: Some(progress.done),
            total: progress.total,
            failed: Some(progress.failed),
            entries_per_second: Some(progress.entries_per_second),
            requests: Some(progress.requests),
            operations: Some(progress.operations),
            duration_ms: Some(progress.duration_ms),
            ..fields
        };
    }
    fitting(fields)
}

/// The fields as JSON within KV's limit. A reason that is too long is cut; keys that do not fit are left out, and so is a
/// service's prefix that still does not fit, because JSON escapes lengthen it.
fn fitting(mut fields: WrittenMetadata<'_>) -> Metadata {
    loop {
        // Text and numbers always are JSON.
        let metadata = Metadata::new(&fields).unwrap_or_else(|_| Metadata::from_json("null"));
        let excess = metadata.as_json().len().saturating_sub(MAX_METADATA_BYTES);
        match &mut fields.error {
            _ if excess == 0 => return metadata,
            Some(reason) if !reason.is_empty() => cut(reason, excess),
            _ if fields.failed_keys.pop().is_some() => {}
            _ if fields.prefix.is_some() => fields.prefix = None,
            _ => return metadata,
        }
    }
}

impl AppliedRecord {
    /// With the entries that were skipped: their number, and as many keys as may fit.
    pub(crate) fn with_failed_entries(self, entries: &[FailedEntry]) -> Self {
        let key = |entry: &FailedEntry| {
            let mut key = entry.key.clone();
            let excess = key.len().saturating_sub(MAX_KEY_BYTES);
            if excess > 0 {
                cut(&mut key, excess);
            }
            key
        };
        let failed_keys = entries.iter().take(MAX_KEYS).map(key).collect();
        Self { failed: entries.len() as u64, failed_keys, ..self }
    }
}

/// Removes about this many bytes from the end, and at least one character.
fn cut(text: &mut String, bytes: usize) {
    const ELLIPSIS: char = '…';
    let whole = text.strip_suffix(ELLIPSIS).map_or(text.len(), str::len);
    let target = whole.saturating_sub(bytes.max(1) + ELLIPSIS.len_utf8());
    text.truncate(text.floor_char_boundary(target));
    if !text.is_empty() {
        text.push(ELLIPSIS);
    }
}
