//! Times as text: `2026-11-22T10:48:28.706Z`, as JavaScript's `toISOString` writes them.

/// In a Worker, JavaScript knows the calendar, so that the wasm needs none.
#[cfg(target_arch = "wasm32")]
mod platform {
    use std::time::SystemTime;

    use worker::js_sys::Date;

    use crate::clock::{at_milliseconds, milliseconds};

    pub(crate) fn now() -> SystemTime {
        time(Date::now())
    }

    #[allow(clippy::cast_precision_loss, reason = "milliseconds of 200,000 years are exact")]
    pub(crate) fn iso8601(time: SystemTime) -> String {
        // A later one has no text, and JavaScript would throw.
        const LAST: u64 = 8_640_000_000_000_000;
        let milliseconds = milliseconds(time).min(LAST) as f64;
        Date::new(&milliseconds.into()).to_iso_string().into()
    }

    pub(crate) fn parse_iso8601(text: &str) -> Option<SystemTime> {
        let milliseconds = Date::parse(text);
        (!milliseconds.is_nan()).then(|| time(milliseconds))
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "before 1970 it is 1970")]
    fn time(milliseconds: f64) -> SystemTime {
        at_milliseconds(milliseconds as u64)
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod platform {
    use std::time::SystemTime;

    use chrono::{DateTime, SecondsFormat, Utc};

    use crate::clock::{at_milliseconds, milliseconds};

    pub(crate) fn now() -> SystemTime {
        time(Utc::now().timestamp_millis())
    }

    pub(crate) fn iso8601(time: SystemTime) -> String {
        let milliseconds = i64::try_from(milliseconds(time)).unwrap_or(i64::MAX);
        let time = DateTime::from_timestamp_millis(milliseconds).unwrap_or(DateTime::<Utc>::MAX_UTC);
        time.to_rfc3339_opts(SecondsFormat::Millis, true)
    }

    pub(crate) fn parse_iso8601(text: &str) -> Option<SystemTime> {
        DateTime::parse_from_rfc3339(text).ok().map(|at| time(at.timestamp_millis()))
    }

    /// Before 1970 it is 1970.
    fn time(milliseconds: i64) -> SystemTime {
        at_milliseconds(u64::try_from(milliseconds).unwrap_or(0))
    }
}

pub(crate) use platform::{iso8601, now, parse_iso8601};

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::clock::at_milliseconds;

    #[test]
    fn a_time_is_written_and_read_as_javascript_has_it() {
        let time = UNIX_EPOCH + Duration::from_millis(1_795_344_508_706);
        assert_eq!(iso8601(time), "2026-11-22T10:48:28.706Z");
        assert_eq!(iso8601(time + Duration::from_micros(999)), "2026-11-22T10:48:28.706Z");
        assert_eq!(parse_iso8601("2026-11-22T10:48:28.706Z"), Some(time));
    }

    #[test]
    fn any_time_and_any_text_is_handled() {
        assert_eq!(iso8601(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
        assert!(iso8601(at_milliseconds(u64::MAX)).starts_with('+'), "later than any calendar goes");
        assert_eq!(parse_iso8601("1969-12-31T23:59:59Z"), Some(UNIX_EPOCH));
        for text in ["", "yesterday", "2026-13-01T00:00:00Z"] {
            assert_eq!(parse_iso8601(text), None, "{text}");
        }
    }
}
