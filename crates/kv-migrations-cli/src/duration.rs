//! Durations as people write and read them.

use std::time::Duration;

const UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];

/// Reads `90`, `90s`, `10m`, `2h` or `1d`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let (number, seconds) = UNITS
        .iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)))
        .unwrap_or((text, 1));
    let total = number.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds));
    total
        .map(Duration::from_secs)
        .ok_or_else(|| "write a number of seconds, or `90s`, `10m`, `2h`".to_owned())
}

/// Two units at most: `1 h 5 min`.
pub(crate) fn show(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) if minutes < 10 && seconds > 0 => format!("{minutes} min {seconds} s"),
        (0, minutes, _) => format!("{minutes} min"),
        (hours, 0, _) => format!("{hours} h"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_a_unit_or_as_seconds() {
        let read = |text| parse(text).ok().map(|duration| duration.as_secs());
        for (text, seconds) in
            [("90", 90), ("90s", 90), ("10m", 600), ("2h", 7_200), ("1d", 86_400), ("0", 0)]
        {
            assert_eq!(read(text), Some(seconds), "{text}");
        }
        for text in ["", "s", "-1", "1.5h", "10 m", "99999999999999999999", "9999999999999999999d"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_shown_in_two_units_at_most() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (65, "1 min 5 s"),
            (120, "2 min"),
            (725, "12 min"),
            (3_600, "1 h"),
            (3_960, "1 h 6 min"),
        ] {
            assert_eq!(show(Duration::from_secs(seconds)), text);
        }
    }
}
