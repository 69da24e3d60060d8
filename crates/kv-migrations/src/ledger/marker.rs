//! What the metadata of a marker says.

use crate::kv::{Fields, Metadata};
use crate::report::{Direction, EntryCounts, Phase, Progress};

/// What a marker says about its migration. No marker, and one in an unknown form, mean pending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Marker {
    Applied(Box<AppliedRecord>),
    /// The value is a checkpoint.
    Running(Box<Progress>),
    /// With progress, the value is a checkpoint too.
    Failed {
        reason: String,
        progress: Option<Box<Progress>>,
    },
}

/// How a migration was applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AppliedRecord {
    /// ISO 8601, as it was written. `None` in a marker that neither runner wrote.
    pub(crate) run_at: Option<String>,
    pub(crate) duration_ms: Option<u64>,
    pub(crate) operations: Option<u64>,
    /// `None` unless it is a backfill, a fold or a re-key.
    pub(crate) entries: Option<EntryCounts>,
    /// How many entries were skipped, and the keys of some of them, which may be cut.
    pub(crate) failed: u64,
    pub(crate) failed_keys: Vec<String>,
    /// Whether it was applied after one that is registered later.
    pub(crate) is_out_of_order: bool,
    /// Why its last rollback failed. Only a coordinator writes it.
    pub(crate) rollback_error: Option<String>,
    /// The revision that was applied, if it had one.
    pub(crate) revision: Option<String>,
    /// Who asked for it. Only written: for people who look at the marker.
    pub(crate) by: Option<String>,
}

/// What the metadata alone says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct MarkerMetadata {
    /// The prefix of the service that wrote it, if it names one.
    pub(super) service: Option<String>,
    /// `None` if only the value can tell.
    pub(super) marker: Option<Marker>,
}

impl MarkerMetadata {
    /// Reads field by field, because metadata of others can have any shape; then the value decides.
    pub(super) fn parse(metadata: Option<&Metadata>) -> Self {
        let Some(metadata) = metadata else { return Self::default() };
        let fields = Fields::parse(metadata);
        let text = |name: &str| fields.text(name);
        let number = |name: &str| fields.number(name);
        let count = |name: &str| fields.count(name);
        let entries = number("seen").map(|seen| EntryCounts {
            seen,
            changed: count("changed"),
            moved: count("moved"),
            left: count("left"),
        });
        let progress = text("checkpointAt").map(|checkpoint_at| {
            Box::new(Progress {
                direction: if text("direction").as_deref() == Some("down") {
                    Direction::Down
                } else {
                    Direction::Up
                },
                phase: Phase::from_name(&text("phase").unwrap_or_default()),
                done: count("done"),
                total: number("total"),
                failed: count("failed"),
                entries: entries.unwrap_or_default(),
                entries_per_second: count("entriesPerSecond"),
                requests: count("requests"),
                operations: count("operations"),
                duration_ms: count("durationMs"),
                started_at: text("startedAt").unwrap_or_default(),
                checkpoint_at,
            })
        });
        let marker = match (text("runAt"), text("failedAt"), progress) {
            (None, Some(_), progress) => {
                Some(Marker::Failed { reason: text("error").unwrap_or_default(), progress })
            }
            (Some(run_at), None, None) => Some(Marker::Applied(Box::new(AppliedRecord {
                run_at: Some(run_at),
                duration_ms: number("durationMs"),
                operations: number("operations"),
                entries,
                failed: count("failed"),
                failed_keys: fields.texts("failedKeys"),
                is_out_of_order: fields.flag("outOfOrder"),
                rollback_error: text("error"),
                revision: text("revision"),
                by: None,
            }))),
            (None, None, Some(progress)) => Some(Marker::Running(progress)),
            _ => None,
        };
        Self { service: text("prefix"), marker }
    }
}

impl Marker {
    /// How far the migration has got, if the value is a checkpoint.
    pub(crate) fn progress(&self) -> Option<&Progress> {
        match self {
            Self::Applied(_) => None,
            Self::Running(progress) => Some(progress),
            Self::Failed { progress, .. } => progress.as_deref(),
        }
    }

    /// Whether there is something to roll back.
    pub(crate) fn can_be_undone(&self) -> bool {
        matches!(self, Self::Applied(_)) || self.progress().is_some()
    }

    pub(super) fn into_progress(self) -> Option<Box<Progress>> {
        match self {
            Self::Applied(_) => None,
            Self::Running(progress) => Some(progress),
            Self::Failed { progress, .. } => progress,
        }
    }
}

/// The direction of a checkpoint, as its value says. `None` if the value is no checkpoint of any release.
pub(super) fn checkpoint_direction(value: &[u8]) -> Option<Direction> {
    let version = value.strip_prefix(br#"{"version":"#)?;
    let digits = version.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = version.get(digits..)?.strip_prefix(br#","direction":""#)?;
    if rest.starts_with(b"up\"") {
        Some(Direction::Up)
    } else if rest.starts_with(b"down\"") {
        Some(Direction::Down)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::encode::{FailureRecord, MAX_KEYS, encode_applied, encode_unfinished};
    use super::*;
    use crate::kv::limits::MAX_METADATA_BYTES;
    use crate::report::FailedEntry;

    const AT: &str = "2026-11-22T10:48:28.744Z";

    fn read(json: &str) -> MarkerMetadata {
        MarkerMetadata::parse(Some(&Metadata::from_json(json)))
    }

    fn failed(service: &str, progress: Option<&Progress>, reason: &str) -> Metadata {
        encode_unfinished(service, progress, Some(&FailureRecord { at: AT.to_owned(), reason }))
    }

    fn progress() -> Progress {
        Progress {
            direction: Direction::Down,
            phase: Phase::Copy,
            done: 7,
            total: Some(9),
            failed: 1,
            entries: EntryCounts { seen: 9, changed: 5, moved: 3, left: 1 },
            entries_per_second: 70,
            requests: 2,
            operations: 30,
            duration_ms: 400,
            started_at: AT.to_owned(),
            checkpoint_at: AT.to_owned(),
        }
    }

    #[test]
    fn the_value_of_a_checkpoint_says_its_direction() {
        let rows = [
            ("{\"version\":1,\"direction\":\"up\"}\nstate", Some(Direction::Up)),
            ("{\"version\":1,\"direction\":\"down\"}\n", Some(Direction::Down)),
            (r#"{"version":12,"direction":"down"}"#, Some(Direction::Down)),
            (r#"{"version":1,"direction":"downwards"}"#, None),
            (r#"{"version":1,"direction":"#, None),
            (r#"{"direction":"up"}"#, None),
            ("failed", None),
            ("true", None),
            ("", None),
        ];
        for (value, expected) in rows {
            assert_eq!(checkpoint_direction(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn progress_is_read_as_it_was_written() {
        let running = encode_unfinished("my-service", Some(&progress()), None);
        assert_eq!(MarkerMetadata::parse(Some(&running)).marker, Some(Marker::Running(Box::new(progress()))));
        let failed = failed("my-service", Some(&progress()), "boom");
        let expected = Marker::Failed { reason: "boom".to_owned(), progress: Some(Box::new(progress())) };
        assert_eq!(MarkerMetadata::parse(Some(&failed)).marker, Some(expected));
    }

    #[test]
    fn what_the_typescript_runner_wrote_is_read() {
        let applied = AppliedRecord { run_at: Some(AT.to_owned()), ..AppliedRecord::default() };
        let expected = MarkerMetadata { service: None, marker: Some(Marker::Applied(Box::new(applied))) };
        assert_eq!(read(r#"{"runAt":"2026-11-22T10:48:28.744Z"}"#), expected);
    }

    #[test]
    fn what_we_write_is_what_the_typescript_runner_wrote_and_more() {
        let applied = AppliedRecord {
            run_at: Some(AT.to_owned()),
            duration_ms: Some(12),
            operations: Some(3),
            ..AppliedRecord::default()
        };
        let metadata = encode_applied("my-service", &applied);
        assert_eq!(
            metadata.as_json(),
            r#"{"runAt":"2026-11-22T10:48:28.744Z","prefix":"my-service","durationMs":12,"operations":3}"#
        );
        let parsed = MarkerMetadata::parse(Some(&metadata));
        assert_eq!(parsed.marker, Some(Marker::Applied(Box::new(applied))));
        assert_eq!(parsed.service.as_deref(), Some("my-service"));
    }

    #[test]
    fn the_counts_of_entries_are_read_as_they_were_written() {
        let entries = Some(EntryCounts { seen: 0, changed: 2, moved: 3, left: 4 });
        let applied = AppliedRecord { run_at: Some(AT.to_owned()), entries, ..AppliedRecord::default() };
        let metadata = encode_applied("my-service", &applied);
        let expected = Some(Marker::Applied(Box::new(applied)));
        assert_eq!(MarkerMetadata::parse(Some(&metadata)).marker, expected, "{metadata:?}");
    }

    #[test]
    fn what_was_skipped_is_read_as_it_was_written() {
        let mut applied =
            AppliedRecord { run_at: Some(AT.to_owned()), is_out_of_order: true, ..AppliedRecord::default() };
        applied.add_skipped(&[skipped("user_1"), skipped("user_\"2\"")]);
        let metadata = encode_applied("my-service", &applied);
        let marker = MarkerMetadata::parse(Some(&metadata)).marker;
        let Some(Marker::Applied(read)) = marker else { panic!("it is applied: {metadata:?}") };
        assert_eq!((read.failed, read.is_out_of_order), (2, true));
        assert_eq!(read.failed_keys, ["user_1", "user_\"2\""]);
    }

    #[test]
    fn metadata_of_any_other_shape_leaves_it_to_the_value() {
        for json in ["null", r#""text""#, "[]", "{}", r#"{"runAt":5}"#, r#"{"a":"b"}"#, "no JSON"] {
            assert_eq!(read(json), MarkerMetadata::default(), "{json}");
        }
        assert_eq!(MarkerMetadata::parse(None), MarkerMetadata::default());
    }

    fn skipped(key: &str) -> FailedEntry {
        FailedEntry { key: key.to_owned(), reason: "boom".to_owned() }
    }

    #[test]
    fn a_reason_that_json_escapes_is_kept_as_far_as_it_fits() {
        let cases =
            ["\"".repeat(950), "\u{1}".repeat(2_000), "a \"quoted\" word ".repeat(90), "ü\n".repeat(700)];
        for reason in cases {
            let metadata = failed("my-service", Some(&progress()), &reason);
            let (length, marker) = (metadata.as_json().len(), MarkerMetadata::parse(Some(&metadata)).marker);
            assert!((900..=MAX_METADATA_BYTES).contains(&length), "{length} bytes: {metadata:?}");
            let Some(Marker::Failed { reason: kept, .. }) = marker else { panic!("it failed: {metadata:?}") };
            assert!(kept.ends_with('…') && reason.starts_with(kept.trim_end_matches('…')), "{kept}");
        }
    }

    #[test]
    fn why_a_rollback_failed_is_read_as_it_was_written() {
        let (run_at, rollback_error) = (Some(AT.to_owned()), Some("boom".to_owned()));
        let applied = AppliedRecord { run_at, rollback_error, ..AppliedRecord::default() };
        let metadata = encode_applied("my-service", &applied);
        assert_eq!(MarkerMetadata::parse(Some(&metadata)).marker, Some(Marker::Applied(Box::new(applied))));
    }

    proptest! {
        #[test]
        fn the_total_of_what_was_skipped_is_kept_whatever_the_keys(
            service in "\\PC{1,100}",
            keys in proptest::collection::vec("\\PC{1,100}", 0..40),
        ) {
            let entries: Vec<FailedEntry> = keys.iter().map(|key| skipped(key)).collect();
            let mut applied = AppliedRecord { run_at: Some(AT.to_owned()), ..AppliedRecord::default() };
            applied.add_skipped(&entries);
            let metadata = encode_applied(&service, &applied);
            prop_assert!(metadata.as_json().len() <= MAX_METADATA_BYTES);
            let MarkerMetadata { service: owner, marker } = MarkerMetadata::parse(Some(&metadata));
            prop_assert_eq!(owner, Some(service), "keys give way to the prefix");
            let Some(Marker::Applied(read)) = marker else { panic!("it is applied: {metadata:?}") };
            prop_assert_eq!(read.failed, keys.len() as u64);
            prop_assert!(read.failed_keys.len() <= keys.len().min(MAX_KEYS));
            for (read, key) in read.failed_keys.iter().zip(&keys) {
                prop_assert!(key.starts_with(read.trim_end_matches('…')), "{read} of {key}");
            }
        }

        #[test]
        fn metadata_always_fits(service in "\\PC{1,500}", reason in any::<String>(), length in 0_usize..5000) {
            let reason = reason.repeat(length / reason.len().max(1) + 1);
            let metadata = failed(&service, Some(&progress()), &reason);
            prop_assert!(metadata.as_json().len() <= MAX_METADATA_BYTES);
            let marker = MarkerMetadata::parse(Some(&metadata)).marker;
            prop_assert!(matches!(marker, Some(Marker::Failed { .. })), "it must be read as failed: {metadata:?}");
        }

        #[test]
        fn a_short_reason_is_kept_whole(reason in "[a-z ]{0,200}") {
            let metadata = failed("my-service", None, &reason);
            let expected = Marker::Failed { reason, progress: None };
            prop_assert_eq!(MarkerMetadata::parse(Some(&metadata)).marker, Some(expected));
        }
    }
}
