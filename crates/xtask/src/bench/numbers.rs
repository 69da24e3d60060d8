//! Numbers as people read them.

/// `12,345`
pub(super) fn count(number: u64) -> String {
    grouped(&number.to_string())
}

/// The same of a place on an axis.
pub(super) fn whole(number: f64) -> String {
    grouped(&format!("{number:.0}"))
}

fn grouped(digits: &str) -> String {
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// From nanoseconds: `10 µs`, `7.61 ms`.
pub(super) fn time(nanoseconds: f64) -> String {
    const UNITS: [(f64, &str); 3] = [(1e9, "s"), (1e6, "ms"), (1e3, "µs")];
    // A power of ten is not always met exactly.
    let reached = |(unit, _): &&(f64, &str)| nanoseconds >= unit * 0.999;
    let (unit, name) = UNITS.iter().find(reached).copied().unwrap_or((1.0, "ns"));
    let rounded = (nanoseconds / unit * 100.0).round() / 100.0;
    format!("{rounded} {name}")
}

/// The same from milliseconds.
pub(super) fn milliseconds(milliseconds: f64) -> String {
    time(milliseconds * 1e6)
}

/// How many times as fast as the other: `× 24`, `× 0.93`.
pub(super) fn times_as_fast(ours: f64, other: f64) -> String {
    let ratio = other / ours;
    if ratio < 10.0 { format!("× {ratio:.2}") } else { format!("× {ratio:.0}") }
}

/// `1.4 MB`
pub(super) fn megabytes(bytes: u64) -> String {
    let tenths = bytes.div_ceil(100_000);
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

/// For a plot, where the last digits of a large number do not matter.
#[allow(clippy::cast_precision_loss, reason = "no count here is as large as that")]
pub(super) fn real(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([1.0, 99.999_999, 10_000.0].map(whole), ["1", "100", "10,000"]);
    }

    #[test]
    fn times_have_the_unit_that_suits_them() {
        let times = [10.0, 999.9999, 1_500.0, 123_456.0, 1e7, 2e9].map(time);
        assert_eq!(times, ["10 ns", "1 µs", "1.5 µs", "123.46 µs", "10 ms", "2 s"]);
        assert_eq!(milliseconds(1_350.0), "1.35 s");
    }

    #[test]
    fn what_is_slower_is_less_than_once_as_fast() {
        assert_eq!([times_as_fast(2.0, 100.0), times_as_fast(2.0, 1.0)], ["× 50", "× 0.50"]);
    }

    #[test]
    fn memory_is_rounded_up() {
        assert_eq!([0, 1, 1_310_720].map(megabytes), ["0.0 MB", "0.1 MB", "1.4 MB"]);
    }
}
