//! The metadata of a marker as it is written, within KV's limit.

use super::marker::AppliedRecord;
use crate::kv::Metadata;
use crate::kv::limits::MAX_METADATA_BYTES;
use crate::report::{FailedEntry, Progress};

/// The most keys of skipped entries in a marker, and the most bytes of each.
pub(super) const MAX_KEYS: usize = 30;
const MAX_KEY_BYTES: usize = 64;

/// What is written: how a migration was applied, or how far it has got. The TypeScript runner reads only `runAt`.
#[derive(Default)]
struct WrittenMetadata<'a> {
    prefix: Option<&'a str>,
    applied: Option<&'a AppliedRecord>,
    progress: Option<&'a Progress>,
    failed_at: Option<&'a str>,
    failed_keys: &'a [String],
    error: Option<String>,
    by: Option<&'a str>,
}

impl WrittenMetadata<'_> {
    fn to_metadata(&self) -> Metadata {
        let Self { applied, progress, .. } = *self;
        let mut object = JsonObject::default();
        object.text("runAt", applied.and_then(|applied| applied.run_at.as_deref()));
        object.text("failedAt", self.failed_at);
        if let Some(progress) = progress {
            object.text("startedAt", Some(&progress.started_at));
            object.text("checkpointAt", Some(&progress.checkpoint_at));
        }
        object.text("prefix", self.prefix);
        let (mut failed, mut duration_ms, mut operations, mut entries) = (None, None, None, None);
        if let Some(progress) = progress {
            object.text("direction", Some(progress.direction.name()));
            object.text("phase", Some(progress.phase.name()));
            object.number("done", Some(progress.done));
            object.number("total", progress.total);
            object.number("entriesPerSecond", Some(progress.entries_per_second));
            object.number("requests", Some(progress.requests));
            (failed, entries) = (Some(progress.failed), Some(progress.entries));
            (duration_ms, operations) = (Some(progress.duration_ms), Some(progress.operations));
        }
        if let Some(applied) = applied {
            (failed, entries) = (Some(applied.failed).filter(|failed| *failed > 0), applied.entries);
            (duration_ms, operations) = (applied.duration_ms, applied.operations);
        }
        object.number("failed", failed);
        object.number("durationMs", duration_ms);
        object.number("operations", operations);
        if let Some(entries) = entries {
            object.number("seen", Some(entries.seen));
            object.number("changed", Some(entries.changed));
            object.number("moved", Some(entries.moved));
            object.number("left", Some(entries.left));
        }
        if !self.failed_keys.is_empty() {
            let mut keys = String::new();
            for key in self.failed_keys {
                keys.push(if keys.is_empty() { '[' } else { ',' });
                keys.push_str(&to_json(key));
            }
            object.json("failedKeys", &(keys + "]"));
        }
        if applied.is_some_and(|applied| applied.is_out_of_order) {
            object.json("outOfOrder", "true");
        }
        object.text("revision", applied.and_then(|applied| applied.revision.as_deref()));
        object.text("by", self.by);
        object.text("error", self.error.as_deref());
        Metadata::from_json(object.fields + "}")
    }
}

/// A JSON object as it is written. A derived serializer of this many optional fields is several times as large in every user's
/// wasm.
#[derive(Default)]
struct JsonObject {
    fields: String,
}

impl JsonObject {
    fn json(&mut self, name: &str, value: &str) {
        self.fields.push_str(if self.fields.is_empty() { "{\"" } else { ",\"" });
        self.fields.push_str(name);
        self.fields.push_str("\":");
        self.fields.push_str(value);
    }

    fn text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.json(name, &to_json(value));
        }
    }

    fn number(&mut self, name: &str, value: Option<u64>) {
        if let Some(value) = value {
            // `to_string` would be compiled apart from all other formatting.
            self.json(name, &format!("{value}"));
        }
    }
}

/// Text always is JSON.
fn to_json(value: &str) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// A failure to be recorded.
pub(crate) struct FailureRecord<'a> {
    /// ISO 8601.
    pub(crate) at: String,
    pub(crate) reason: &'a str,
}

pub(super) fn encode_applied(service: &str, applied: &AppliedRecord) -> Metadata {
    fitting(WrittenMetadata {
        prefix: Some(service),
        applied: Some(applied),
        failed_keys: &applied.failed_keys,
        error: applied.rollback_error.clone(),
        by: applied.by.as_deref(),
        ..WrittenMetadata::default()
    })
}

/// The metadata of a migration that is not finished, or that failed, or both.
pub(super) fn encode_unfinished(
    service: &str,
    progress: Option<&Progress>,
    failed: Option<&FailureRecord<'_>>,
) -> Metadata {
    fitting(WrittenMetadata {
        prefix: Some(service),
        progress,
        failed_at: failed.map(|failed| failed.at.as_str()),
        error: failed.map(|failed| failed.reason.to_owned()),
        ..WrittenMetadata::default()
    })
}

/// The fields as JSON within KV's limit. A reason that is too long is cut; keys that do not fit are left out, and so are
/// who asked for it, and at last a service's prefix, which JSON escapes lengthen.
fn fitting(mut fields: WrittenMetadata<'_>) -> Metadata {
    loop {
        let metadata = fields.to_metadata();
        let excess = metadata.as_json().len().saturating_sub(MAX_METADATA_BYTES);
        match (&mut fields.error, fields.failed_keys) {
            _ if excess == 0 => return metadata,
            (Some(reason), _) if !reason.is_empty() => {
                // JSON escapes lengthen it: what is cut off is worth more bytes than it has.
                let escaped = to_json(reason.as_str()).len();
                cut(reason, (excess * reason.len()).div_ceil(escaped.max(1)));
            }
            (_, [keys @ .., _]) => fields.failed_keys = keys,
            _ if fields.by.is_some() => fields.by = None,
            _ if fields.prefix.is_some() => fields.prefix = None,
            _ => return metadata,
        }
    }
}

impl AppliedRecord {
    /// Adds the entries that were skipped: their number, and as many keys as may fit.
    pub(crate) fn add_skipped(&mut self, entries: &[FailedEntry]) {
        let key = |entry: &FailedEntry| {
            let mut key = entry.key.clone();
            let excess = key.len().saturating_sub(MAX_KEY_BYTES);
            if excess > 0 {
                cut(&mut key, excess);
            }
            key
        };
        self.failed_keys = entries.iter().take(MAX_KEYS).map(key).collect();
        self.failed = entries.len() as u64;
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
