//! How large the values are that a walk reads, so that what it holds fits into the memory of a Worker.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes of values wait for the work on them, and are worked on at once. A Worker has 128 MB for all its requests, and
/// each value is there several times: as the runtime has read it, as it is worked on, and as it is written.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// How many values are read while nobody knows how large they are.
const FIRST_VALUES: usize = 4;

/// About how many bytes a value has. Zero if it is not known, and one if there was none to read.
#[derive(Debug, Default)]
pub(crate) struct ValueSize(AtomicUsize);

impl ValueSize {
    /// Forgets what was known: other values come next.
    pub(crate) fn forget(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Notes how many values were read, and how many bytes they have.
    pub(crate) fn note(&self, values: usize, bytes: usize) {
        self.0.store(after(self.0.load(Ordering::Relaxed), values, bytes), Ordering::Relaxed);
    }

    /// How many values may wait at once, or be worked on at once: `most` of them if they are small.
    pub(crate) fn fit(&self, most: usize) -> usize {
        match self.0.load(Ordering::Relaxed) {
            0 => FIRST_VALUES.min(most),
            bytes => (MAX_BYTES / bytes).clamp(1, most),
        }
    }
}

/// The size once these values were read. It rises at once, and falls by half.
fn after(size: usize, values: usize, bytes: usize) -> usize {
    bytes.checked_div(values).map_or(size, |mean| mean.max(size.midpoint(mean))).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit_after(size: usize, values: usize, bytes_each: usize) -> usize {
        ValueSize(after(size, values, values * bytes_each).into()).fit(100)
    }

    #[test]
    fn so_many_values_fit_that_they_have_four_mebibytes() {
        assert_eq!(ValueSize::default().fit(100), 4, "not known");
        // size before, values, bytes of each, expected
        let rows = [
            (0, 4, 40, 100),
            (0, 4, 41_943, 100),
            (0, 4, 42_400, 98),
            (0, 4, 250_000, 16),
            (0, 4, 1_000_000, 4),
            (0, 4, 25_000_000, 1),
            (0, 4, 0, 100),
            // Nothing was there.
            (0, 0, 0, 100),
            (1_000_000, 0, 0, 4),
        ];
        for (size, values, bytes, expected) in rows {
            assert_eq!(fit_after(size, values, bytes), expected, "{size} before, {values} of {bytes}");
        }
    }

    #[test]
    fn larger_values_count_at_once_and_smaller_ones_slowly() {
        let mut size = after(1_000, 100, 100 * 500_000);
        let mut fitting = vec![ValueSize(size.into()).fit(100)];
        for _ in 0..5 {
            size = after(size, 8, 8 * 1_000);
            fitting.push(ValueSize(size.into()).fit(100));
        }
        assert_eq!(fitting, [8, 16, 33, 66, 100, 100]);
    }
}
