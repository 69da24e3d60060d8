//! Where the budget ends, entries that have begun are finished in the reserve, in virtual time, in which the operations of
//! several entries alternate.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kv_migrations::kv::MemoryStore;
use kv_migrations::testing::{MemoryLog, VirtualTime};
use kv_migrations::{Backfill, Budget, Error, Migration, RunReport, Runner};

use crate::service::start;
use crate::stores::Slow;

const MAX_REQUESTS: usize = 2_000;

struct World {
    time: VirtualTime,
    store: MemoryStore,
}

impl World {
    fn new(users: u32) -> Self {
        let time = VirtualTime::starting_at(start());
        let store = MemoryStore::with_clock(time.clone());
        for number in 0..users {
            store.insert(&format!("user_{number:05}"), "x");
        }
        Self { time, store }
    }

    fn runner(&self, budget: Budget, backfill: Backfill) -> Runner {
        let latency = Duration::from_millis(10);
        let slow = Slow::new(self.store.clone(), &self.time, latency);
        Runner::new(slow, "sim", vec![Migration::backfill("001", "", backfill)])
            .expect("it can be registered")
            .with_clock(Arc::new(self.time.clone()))
            .with_log(Arc::new(MemoryLog::default()))
            .with_budget(budget)
    }

    /// Requests until the run is finished.
    fn drive(&self, runner: &Runner) -> Result<Vec<RunReport>, Error> {
        let mut reports = Vec::new();
        while reports.len() < MAX_REQUESTS {
            let before = self.store.operations();
            let mut report = self.time.run(runner.run_pending(&()))?;
            report.operations = self.store.operations() - before;
            self.time.advance(report.retry_after.unwrap_or_default());
            let is_finished = report.is_finished();
            reports.push(report);
            if is_finished {
                return Ok(reports);
            }
        }
        panic!("it does not come to an end: {:?}", reports.last());
    }

    fn count(&self, prefix: &str) -> usize {
        self.store.entries().iter().filter(|(key, _)| key.name.starts_with(prefix)).count()
    }
}

/// Writes the entry, and then another key: in the order in which an end between them loses the second key.
fn entry_first() -> Backfill {
    Backfill::new("user_", async |kv, record, ()| {
        if record.value().ends_with(b"+") {
            return Ok(());
        }
        record.put([record.value(), b"+"].concat()).await?;
        Ok(kv.put(&format!("seen_{}", record.name()), "1").await?)
    })
}

#[test]
fn an_entry_that_looks_before_it_writes_loses_nothing_where_the_budget_ends() {
    for (users, operations) in [(900, 20), (900, 50), (20_000, 900)] {
        let world = World::new(users);
        // Most entries cost nothing, and let expect little of the others.
        for number in (0..users).filter(|number| number % 7 != 0) {
            world.store.insert(&format!("user_{number:05}"), "x+");
        }
        let budget = Budget::default().with_operations(operations);
        let reports = world.drive(&world.runner(budget, entry_first())).expect("it succeeds");
        assert!(reports.len() > 5, "the budget ends often: {}", reports.len());
        let seen = u32::try_from(world.count("seen_")).expect("it is one of them");
        assert_eq!(seen, users.div_ceil(7), "with {operations} operations for each request");
    }
}

#[test]
fn no_run_exceeds_its_budget_and_reserve_with_entries_of_any_cost() {
    for seed in 0..20_u64 {
        let world = World::new(300);
        // From none to 60, most of them few.
        let costly = Backfill::new("user_", async move |kv, record, ()| {
            let number: u64 = record.name().trim_start_matches("user_").parse()?;
            let drawn = (number + seed * 977).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
            let reads = if drawn.is_multiple_of(7) { drawn / 7 % 60 } else { drawn % 3 };
            for read in 0..reads {
                kv.text(&format!("read_{read}")).await?;
            }
            Ok(kv.put(&format!("done_{number}"), "1").clear_metadata().clear_expiration().await?)
        });
        let reports = world.drive(&world.runner(Budget::default(), costly)).expect("it succeeds");
        let most = reports.iter().map(|report| report.operations).max();
        assert!(most <= Some(980), "seed {seed}: {most:?} operations");
        assert_eq!(world.count("done_"), 300, "seed {seed}");
    }
}

#[test]
fn an_entry_that_is_cut_off_is_begun_again_alone_and_knows() {
    let world = World::new(60);
    let begun = Arc::<Mutex<BTreeMap<String, Vec<bool>>>>::default();
    let shared = begun.clone();
    let costly = Backfill::new("user_", async move |kv, record, ()| {
        let times = shared.lock().unwrap().entry(record.name().to_owned()).or_default().len();
        assert_eq!(record.is_repeated(), times > 0, "{} is begun for the {times}th time", record.name());
        shared.lock().unwrap().entry(record.name().to_owned()).or_default().push(record.is_repeated());
        // The cheap ones before them let expect little.
        let reads = if record.name() < "user_00040" { 0 } else { 500 };
        for read in 0..reads {
            kv.text(&format!("read_{read}")).await?;
        }
        Ok(record.put("done").await?)
    });
    let reports = world.drive(&world.runner(Budget::default(), costly)).expect("it succeeds");
    assert!(reports.iter().all(|report| report.operations <= 980), "{reports:?}");
    assert!(begun.lock().unwrap().values().any(|times| times.len() > 1), "some were cut off: {begun:?}");
    assert!(begun.lock().unwrap().values().all(|times| times.len() < 5), "and not for ever: {begun:?}");
    let done = world.store.entries().into_iter().filter(|(_, value)| value == b"done");
    assert_eq!(done.count(), 60);
}

#[test]
fn an_entry_that_needs_more_than_budget_and_reserve_fails_and_the_ones_before_it_are_done() {
    let world = World::new(10);
    let endless = Backfill::new("user_", async |kv, record, ()| {
        let reads = if record.name() == "user_00005" { 2_000 } else { 0 };
        for read in 0..reads {
            kv.text(&format!("read_{read}")).await?;
        }
        Ok(record.put("done").await?)
    });
    let error = world.drive(&world.runner(Budget::default(), endless)).unwrap_err().to_string();
    assert!(error.contains("a single entry needs more than the 900 KV operations"), "{error}");
    for number in 0..5 {
        assert_eq!(world.store.value(&format!("user_{number:05}")).unwrap(), b"done");
    }
}

#[test]
fn a_larger_reserve_lets_an_entry_finish_that_needs_more_than_the_budget() {
    let costly = || {
        Backfill::new("user_", async |kv, record, ()| {
            let reads = if record.name().ends_with('7') { 250 } else { 0 };
            for read in 0..reads {
                kv.text(&format!("read_{read}")).await?;
            }
            Ok(record.put("done").await?)
        })
    };
    let budget = Budget::default().with_operations(200);
    let world = World::new(100);
    world.drive(&world.runner(budget, costly())).expect_err("an entry needs 251 operations");
    let reports = world.drive(&world.runner(budget.with_reserve(300), costly())).expect("it succeeds");
    assert!(reports.iter().all(|report| report.operations <= 500), "{reports:?}");
}

#[test]
fn an_entry_that_failed_knows_in_the_next_run_that_it_has_begun_before() {
    for number in [0, 1, 29] {
        let world = World::new(30);
        let begun = Arc::<Mutex<Vec<bool>>>::default();
        let shared = begun.clone();
        let failing = move || {
            let (shared, failing) = (shared.clone(), format!("user_{number:05}"));
            Backfill::new("user_", async move |_, record, ()| {
                if record.name() == failing {
                    shared.lock().unwrap().push(record.is_repeated());
                    return Err("it is not ready".into());
                }
                Ok(record.put("done").await?)
            })
        };
        for backfill in [failing(), failing().one_at_a_time()] {
            world.drive(&world.runner(Budget::default(), backfill)).expect_err("an entry fails");
        }
        assert_eq!(*begun.lock().unwrap(), [false, true], "the entry {number}");
    }
}
