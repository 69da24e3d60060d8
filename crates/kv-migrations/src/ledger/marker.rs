//! The metadata of a marker.

use serde::Serialize;

use crate::kv::limits::MAX_METADATA_BYTES;
use crate::kv::{Fields, Metadata};

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

/// The fields as they are written. The TypeScript runner knows only `runAt`.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    run_at: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_at: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<&'a str>,
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
    /// Field by field, since metadata that is not ours can have any shape; then the value decides.
    pub(super) fn of(metadata: Option<&Metadata>) -> Self {
        let Some(metadata) = metadata else { return Self::default() };
        let fields = Fields::of(metadata);
        let text = |name: &str| fields.text(name);
        let number = |name: &str| fields.number(name);
        let marker = match (text("runAt"), text("failedAt")) {
            (None, Some(_)) => Some(Marker::Failed { reason: text("error").unwrap_or_default() }),
            (Some(run_at), None) => Some(Marker::Applied(Applied {
                run_at: Some(run_at),
                duration_ms: number("durationMs"),
                operations: number("operations"),
            })),
            _ => None,
        };
        Self { prefix: text("prefix"), marker }
    }
}

pub(super) fn encode_applied(prefix: &str, applied: &Applied) -> Metadata {
    fitting(Written {
        run_at: applied.run_at.as_deref(),
        prefix: Some(prefix),
        duration_ms: applied.duration_ms,
        operations: applied.operations,
        ..Written::default()
    })
}

pub(super) fn encode_failed(prefix: &str, at: &str, reason: &str) -> Metadata {
    fitting(Written {
        failed_at: Some(at),
        prefix: Some(prefix),
        error: Some(reason.to_owned()),
        ..Written::default()
    })
}

/// The fields as JSON that KV takes: a reason that is too long is cut, and a prefix that even so does not fit (JSON
/// can make it longer than it is) is left out.
fn fitting(mut fields: Written<'_>) -> Metadata {
    loop {
        // Text and numbers always are JSON.
        let metadata = Metadata::new(&fields).unwrap_or_else(|_| Metadata::from_json("null"));
        let excess = metadata.as_json().len().saturating_sub(MAX_METADATA_BYTES);
        match &mut fields.error {
            _ if excess == 0 => return metadata,
            Some(reason) if !reason.is_empty() => cut(reason, excess),
            _ if fields.prefix.is_some() => fields.prefix = None,
            _ => return metadata,
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

    use super::*;

    const AT: &str = "2026-11-22T10:48:28.744Z";

    fn read(json: &str) -> Reading {
        Reading::of(Some(&Metadata::from_json(json)))
    }

    #[test]
    fn what_the_typescript_runner_wrote_is_read() {
        let applied = Applied { run_at: Some(AT.to_owned()), ..Applied::default() };
        let expected = Reading { prefix: None, marker: Some(Marker::Applied(applied)) };
        assert_eq!(read(r#"{"runAt":"2026-11-22T10:48:28.744Z"}"#), expected);
    }

    #[test]
    fn what_we_write_is_what_the_typescript_runner_wrote_and_more() {
        let applied = Applied { run_at: Some(AT.to_owned()), duration_ms: Some(12), operations: Some(3) };
        let metadata = encode_applied("my-service", &applied);
        assert_eq!(
            metadata.as_json(),
            r#"{"runAt":"2026-11-22T10:48:28.744Z","prefix":"my-service","durationMs":12,"operations":3}"#
        );
        let reading = Reading::of(Some(&metadata));
        assert_eq!(reading.marker, Some(Marker::Applied(applied)));
        assert_eq!(reading.prefix.as_deref(), Some("my-service"));
    }

    #[test]
    fn metadata_of_any_other_shape_leaves_it_to_the_value() {
        for json in ["null", r#""text""#, "[]", "{}", r#"{"runAt":5}"#, r#"{"a":"b"}"#, "no JSON"] {
            assert_eq!(read(json), Reading::default(), "{json}");
        }
        assert_eq!(Reading::of(None), Reading::default());
    }

    proptest! {
        #[test]
        fn metadata_always_fits(prefix in "\\PC{1,500}", reason in any::<String>(), length in 0_usize..5000) {
            let reason = reason.repeat(length / reason.len().max(1) + 1);
            let metadata = encode_failed(&prefix, AT, &reason);
            prop_assert!(metadata.as_json().len() <= MAX_METADATA_BYTES);
            let marker = Reading::of(Some(&metadata)).marker;
            prop_assert!(matches!(marker, Some(Marker::Failed { .. })), "it must be read as failed: {metadata:?}");
        }

        #[test]
        fn a_short_reason_is_kept_whole(reason in "[a-z ]{0,200}") {
            let metadata = encode_failed("my-service", AT, &reason);
            prop_assert_eq!(Reading::of(Some(&metadata)).marker, Some(Marker::Failed { reason }));
        }
    }
}
