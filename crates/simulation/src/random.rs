//! All that is left to chance, drawn from the seed.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use fastrand::Rng;

/// A stream of random numbers. Clones draw from the same.
#[derive(Debug, Clone)]
pub struct Dice(Arc<Mutex<Rng>>);

impl Dice {
    /// The same seed gives the same numbers.
    pub fn of(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Rng::with_seed(seed))))
    }

    /// One of this range.
    pub fn between(&self, range: RangeInclusive<u64>) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).u64(range)
    }

    /// One below this number, for an index.
    pub fn below(&self, number: usize) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).usize(..number)
    }

    /// True so many times in a thousand.
    pub fn chance(&self, in_thousand: u64) -> bool {
        in_thousand > 0 && self.between(0..=999) < in_thousand
    }

    /// One of these.
    pub fn pick<T: Copy, const N: usize>(&self, of: [T; N]) -> T {
        of[self.below(N)]
    }
}
