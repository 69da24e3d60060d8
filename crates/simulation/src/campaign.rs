//! Many worlds, on several threads.

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use kv_migrations::sabotage::{self, Defect};

use crate::tally::{Figures, Tally};
use crate::trace::Tracing;
use crate::violation::Violation;
use crate::world_run::{self, WorldEnd};

/// The time between two reports of how many worlds are done.
const BETWEEN_REPORTS: Duration = Duration::from_secs(5);

/// The worlds of consecutive seeds.
#[derive(Debug, Clone, Copy)]
pub struct Campaign {
    /// The first seed.
    pub from: u64,
    /// How many seeds.
    pub seeds: u64,
    /// How many threads.
    pub threads: usize,
    /// A defect of the runner, which the simulation must find.
    pub defect: Option<Defect>,
    /// Whether it continues after a world with a violation.
    pub continues: bool,
}

/// The worlds in which the same invariant is violated.
#[derive(Debug, Clone)]
pub struct Finding {
    /// How many there were.
    pub worlds: u64,
    /// The lowest of their seeds.
    pub seed: u64,
    /// The violation in that world.
    pub violation: Violation,
}

/// The result of a campaign.
#[derive(Debug, Default)]
pub struct CampaignReport {
    /// The figures of all worlds that were run.
    pub figures: Figures,
    /// What was found, by the name of the invariant.
    pub findings: BTreeMap<&'static str, Finding>,
}

impl CampaignReport {
    fn add(&mut self, seed: u64, violation: Violation) {
        match self.findings.get_mut(violation.invariant) {
            None => drop(self.findings.insert(violation.invariant, Finding { worlds: 1, seed, violation })),
            Some(finding) => {
                finding.worlds += 1;
                if finding.seed > seed {
                    (finding.seed, finding.violation) = (seed, violation);
                }
            }
        }
    }
}

/// Runs the world of one seed. A panic is a violation like any other.
pub fn replay(seed: u64, defect: Option<Defect>, tracing: Tracing) -> WorldEnd {
    let run = || catch_unwind(|| world_run::run(seed, tracing));
    let end = match defect {
        Some(defect) => sabotage::with(defect, run),
        None => run(),
    };
    end.unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().cloned();
        let message = message.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
        let violation = Violation { invariant: "nothing_panics", text: message.unwrap_or_default() };
        WorldEnd { violation: Some(violation), tally: Tally::default(), trace: Vec::new() }
    })
}

impl Campaign {
    /// Runs the worlds, and tells `on_progress` from time to time how many are done.
    pub fn run(&self, on_progress: impl Fn(u64) + Sync) -> CampaignReport {
        let (next, done, stops) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let (report, reported) = (Mutex::new(CampaignReport::default()), Mutex::new(Instant::now()));
        let work = || {
            let mut figures = Figures::default();
            while !stops.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= self.seeds {
                    break;
                }
                let seed = self.from + number;
                let end = replay(seed, self.defect, Tracing::Off);
                figures.add(end.tally);
                if let Some(violation) = end.violation {
                    stops.store(!self.continues, Ordering::Relaxed);
                    report.lock().unwrap_or_else(PoisonError::into_inner).add(seed, violation);
                }
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                if let Ok(mut last) = reported.try_lock()
                    && last.elapsed() >= BETWEEN_REPORTS
                {
                    *last = Instant::now();
                    on_progress(done);
                }
            }
            report.lock().unwrap_or_else(PoisonError::into_inner).figures += figures;
        };
        thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(work);
            }
        });
        report.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
