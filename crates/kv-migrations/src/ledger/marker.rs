//! The metadata of a marker.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kv::limits::MAX_METADATA_BYTES;

/// What a marker says of its migration. None at all, and one that says nothing we know, mean pending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Marker {
    Applied(Applied),
    Failed { reason: String },
}

/// How a migration was applied, as far as its marker tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    /// ISO 8601, as it was written; none in a marker that neither runner wrote.
    pub(crate) run_at: Option<String>,
    pub(crate) duration_ms: Option<u64>,
    pub(crate) operations: Option<u64>,
}

/// The fields as they stand in KV. The TypeScript runner knows only `runAt`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Fields {
    #[serde(skip_serializing_if = "Option::is_none")]
    run_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operations: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What metadata alone tells.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// The service that wrote it, if it says so.
    pub(super) prefix: Option<String>,
    /// Its state; none if only its value tells.
    pub(super) marker: Option<Marker>,
}

impl Reading {
    pub(super) fn of(metadata: Option<&Value>) -> Self {
        // Metadata that is not ours can have any shape; then the value decides.
        let fields = metadata.and_then(|metadata| Fields::deserialize(metadata).ok()).unwrap_or_default();
        let Fields { run_at, failed_at, prefix, duration_ms, operations, error } = fields;
        let marker = match (run_at, failed_at) {
            (None, Some(_)) => Some(Marker::Failed { reason: error.unwrap_or_default() }),
            (Some(run_at), None) => {
                Some(Marker::Applied(Applied { run_at: Some(run_at), duration_ms, operations }))
            }
            _ => None,
        };
        Self { prefix, marker }
    }
}

pub(super) fn encode_applied(prefix: &str, applied: &Applied) -> Value {
    fitting(Fields {
        run_at: applied.run_at.clone(),
        prefix: Some(prefix.to_owned()),
        duration_ms: applied.duration_ms,
        operations: applied.operations,
        ..Fields::default()
    })
}

pub(super) fn encode_failed(prefix: &str, at: &str, reason: &str) -> Value {
    fitting(Fields {
        failed_at: Some(at.to_owned()),
        prefix: Some(prefix.to_owned()),
        error: Some(reason.to_owned()),
        ..Fields::default()
    })
}

/// The fields as JSON that KV takes: a reason that is too long is cut, and a prefix that even so does not fit (JSON
/// can make it longer than it is) is left out.
fn fitting(mut fields: Fields) -> Value {
    loop {
        let json = serde_json::to_value(&fields).unwrap_or_default();
        let excess = json.to_string().len().saturating_sub(MAX_METADATA_BYTES);
        match &mut fields.error {
            _ if excess == 0 => return json,
            Some(reason) if !reason.is_empty() => cut(reason, excess),
            _ if fields.prefix.is_some() => fields.prefix = None,
            _ => return json,
        }
    }
}

/// Takes at least one character off the end, and about as many bytes as asked for.
fn cut(text: &mut String, bytes: usize) {
    const ELLIPSIS: char = '…';
    let whole = text.strip_suffix(ELLIPSIS).map_or(text.len(), str::len);
    let target = whole.saturating_sub(bytes.max(1) + ELLIPSIS.len_utf8());
    text.truncate(text.floor_char_boundary(target));
    if !text.is_empty() {
        text.push(ELLIPSIS);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_typescript_runner_wrote_is_read() {
        let reading = Reading::of(Some(&json!({"runAt": "2026-11-22T10:48:28.744Z"})));
        let Some(Marker::Applied(applied)) = reading.marker else { panic!("it is applied: {reading:?}") };
        assert_eq!(applied.run_at.as_deref(), Some("2026-11-22T10:48:28.744Z"));
        assert_eq!(reading.prefix, None, "it does not say whose it is");
    }

    #[test]
    fn what_we_write_is_what_the_typescript_runner_wrote_and_more() {
        let applied = Applied {
            run_at: Some("2026-11-22T10:48:28.744Z".to_owned()),
            duration_ms: Some(12),
            operations: Some(3),
        };
        let json = encode_applied("my-service", &applied);
        assert_eq!(
            json,
            json!({"runAt": "2026-11-22T10:48:28.744Z", "prefix": "my-service", "durationMs": 12, "operations": 3})
        );
        let reading = Reading::of(Some(&json));
        assert_eq!(reading.marker, Some(Marker::Applied(applied)));
        assert_eq!(reading.prefix.as_deref(), Some("my-service"));
    }

    #[test]
    fn metadata_of_any_other_shape_leaves_it_to_the_value() {
        for metadata in
            [json!(null), json!("text"), json!([]), json!({}), json!({"runAt": 5}), json!({"a": "b"})]
        {
            assert_eq!(Reading::of(Some(&metadata)), Reading::default(), "{metadata}");
        }
        assert_eq!(Reading::of(None), Reading::default());
    }

    proptest! {
        #[test]
        fn metadata_always_fits(prefix in "\\PC{1,500}", reason in any::<String>(), length in 0_usize..5000) {
            let reason = reason.repeat(length / reason.len().max(1) + 1);
            let at = "2026-11-22T10:48:28.744Z";
            let json = encode_failed(&prefix, at, &reason);
            prop_assert!(json.to_string().len() <= MAX_METADATA_BYTES);
            let read = Reading::of(Some(&json)).marker;
            prop_assert!(matches!(read, Some(Marker::Failed { .. })), "it is still read as failed: {json}");
        }

        #[test]
        fn a_short_reason_is_kept_whole(reason in "[a-z ]{0,200}") {
            let json = encode_failed("my-service", "2026-11-22T10:48:28.744Z", &reason);
            prop_assert_eq!(Reading::of(Some(&json)).marker, Some(Marker::Failed { reason }));
        }
    }
}
