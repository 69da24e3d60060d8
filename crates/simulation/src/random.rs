//! Everything random in a world, drawn from its seed.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;

/// A stream of random numbers, the same for the same seed. Clones draw from the same stream.
#[derive(Debug, Clone)]
pub struct Random(Arc<Mutex<Rng>>);

impl Random {
    /// The stream of a seed.
    pub fn from_seed(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Rng::with_seed(seed))))
    }

    /// Any number.
    pub fn any(&self) -> u64 {
        self.between(0..=u64::MAX)
    }

    /// A number in this range.
    pub fn between(&self, range: RangeInclusive<u64>) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).u64(range)
    }

    /// A time in this range of milliseconds.
    pub fn milliseconds(&self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.between(range))
    }

    /// A number below this one, for an index.
    pub fn below(&self, number: usize) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).usize(..number)
    }

    /// `true` this often in a thousand.
    pub fn chance(&self, per_thousand: u64) -> bool {
        per_thousand > 0 && self.between(0..=999) < per_thousand
    }

    /// One of these.
    pub fn pick<T: Copy, const N: usize>(&self, values: [T; N]) -> T {
        values[self.below(N)]
    }
}
