//! Many worlds, on several threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use kv_migrations::sabotage::{self, Defect};

use crate::invariants::Violation;
use crate::tally::Figures;
use crate::world::{self, Ended};

/// How often it is told how far it is.
const BETWEEN_REPORTS: Duration = Duration::from_secs(5);

/// Which worlds.
#[derive(Debug, Clone, Copy)]
pub struct Campaign {
    /// The first seed.
    pub from: u64,
    /// How many.
    pub seeds: u64,
    /// On how many threads.
    pub threads: usize,
    /// What the runner gets wrong, to see whether that is found.
    pub defect: Option<Defect>,
    /// Whether it goes on when something went wrong in one.
    pub goes_on: bool,
}

/// The worlds in which the same invariant does not hold.
#[derive(Debug, Clone)]
pub struct Found {
    /// How many there were.
    pub worlds: u64,
    /// The lowest of their seeds.
    pub seed: u64,
    /// What went wrong in that one.
    pub violation: Violation,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The figures of all worlds that were run.
    pub figures: Figures,
    /// What went wrong, by the name of the invariant.
    pub found: BTreeMap<&'static str, Found>,
}

impl Outcome {
    fn add(&mut self, seed: u64, violation: Violation) {
        match self.found.get_mut(violation.invariant) {
            None => drop(self.found.insert(violation.invariant, Found { worlds: 1, seed, violation })),
            Some(found) => {
                found.worlds += 1;
                if found.seed > seed {
                    (found.seed, found.violation) = (seed, violation);
                }
            }
        }
    }
}

/// The world of one seed.
pub fn replay(seed: u64, defect: Option<Defect>, keeps_trace: bool) -> Ended {
    match defect {
        Some(defect) => sabotage::with(defect, || world::run(seed, keeps_trace)),
        None => world::run(seed, keeps_trace),
    }
}

impl Campaign {
    /// Runs the worlds. `report` is told from time to time how many are done.
    pub fn run(&self, report: impl Fn(u64) + Sync) -> Outcome {
        let (next, done, stops) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let (outcome, reported) = (Mutex::new(Outcome::default()), Mutex::new(Instant::now()));
        let work = || {
            let mut figures = Figures::default();
            while !stops.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= self.seeds {
                    break;
                }
                let seed = self.from + number;
                let ended = replay(seed, self.defect, false);
                figures.add(ended.tally);
                if let Some(violation) = ended.violation {
                    stops.store(!self.goes_on, Ordering::Relaxed);
                    outcome.lock().unwrap_or_else(PoisonError::into_inner).add(seed, violation);
                }
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                if let Ok(mut last) = reported.try_lock()
                    && last.elapsed() >= BETWEEN_REPORTS
                {
                    *last = Instant::now();
                    report(done);
                }
            }
            outcome.lock().unwrap_or_else(PoisonError::into_inner).figures += figures;
        };
        thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(work);
            }
        });
        outcome.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
