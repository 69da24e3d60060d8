//! How fast a backfill is where every operation takes 10 ms, in virtual time: exact, on every machine.

use std::sync::Arc;
use std::time::Duration;

use kv_migrations::clock::Clock;
use kv_migrations::kv::{Kv, KvError, MemoryStore};
use kv_migrations::testing::{MemoryLog, VirtualTime};
use kv_migrations::{Backfill, Budget, Error, Migration, Runner};
use serde_json::{Map, Value};

use crate::service::start;
use crate::stores::{SixAtOnce, Slow};

const LATENCY: Duration = Duration::from_millis(10);
const ENTRIES: u32 = 10_000;
const CONNECTIONS: u32 = 6;

/// The fewest operations for this many entries: lists, bulk reads and writes.
fn least(entries: u32) -> u32 {
    entries.div_ceil(1_000) + entries.div_ceil(100) + entries
}

fn slow_customers(number: u32) -> (VirtualTime, Slow<MemoryStore>) {
    let time = VirtualTime::starting_at(start());
    let store = MemoryStore::with_clock(time.clone());
    for number in 0..number {
        store.insert(&format!("customer_{number:05}"), format!(r#"{{"number":{number}}}"#));
    }
    (time.clone(), Slow::new(store, &time, LATENCY))
}

/// The output of `work`, and how long it takes.
fn timed<T>(time: &VirtualTime, work: impl Future<Output = T>) -> (T, Duration) {
    let began = time.now();
    let output = time.run(work);
    (output, time.now().duration_since(began).expect("time passes"))
}

fn change(customer: &mut Map<String, Value>) {
    customer.insert("verified".to_owned(), false.into());
}

fn backfill() -> Migration {
    let verified = Backfill::new("customer_", async |_, record, ()| {
        let mut customer = record.json()?;
        change(&mut customer);
        Ok(record.put_json(&customer).await?)
    });
    Migration::backfill("001", "", verified)
}

/// The loop without this crate: list, then get and put each entry in turn.
async fn loop_by_hand(kv: &Kv) -> Result<(), KvError> {
    let mut keys = kv.list("customer_");
    while let Some(key) = keys.next().await? {
        let Some(mut customer) = kv.json::<Map<String, Value>>(&key.name).await? else { continue };
        change(&mut customer);
        kv.put_json(&key.name, &customer).with_options_of(&key).await?;
    }
    Ok(())
}

/// How long a backfill takes with this budget for each request, and how many requests.
fn time_of_backfill(entries: u32, budget: Budget) -> (Duration, u32) {
    let (time, store) = slow_customers(entries);
    let runner = Runner::new(store, "my-service", vec![backfill()])
        .expect("it can be registered")
        .with_clock(Arc::new(time.clone()))
        .with_log(Arc::new(MemoryLog::default()))
        .with_budget(budget);
    let work = async {
        let mut requests = 1;
        while !runner.run_pending(&()).await?.is_finished() {
            requests += 1;
        }
        Ok::<_, Error>(requests)
    };
    let (requests, took) = timed(&time, work);
    (took, requests.expect("it succeeds"))
}

fn time_of_loop() -> Duration {
    let (time, store) = slow_customers(ENTRIES);
    let kv = Kv::new(store);
    let (result, took) = timed(&time, loop_by_hand(&kv));
    result.expect("it succeeds");
    took
}

fn check(took: Duration) {
    let by_hand = time_of_loop();
    assert_eq!(by_hand, LATENCY * (ENTRIES / 1_000 + 2 * ENTRIES));
    assert!(by_hand >= took * 10, "by hand it takes {by_hand:?}, and so {took:?}");
    let best = LATENCY * least(ENTRIES) / CONNECTIONS;
    assert!(
        took * 100 <= best * 115,
        "it takes {took:?}, and {CONNECTIONS} connections would do it in {best:?}"
    );
}

#[test]
fn a_backfill_in_one_request_uses_all_connections() {
    let (took, requests) = time_of_backfill(ENTRIES, Budget::default().with_operations(100_000));
    assert_eq!(requests, 1);
    check(took);
}

#[test]
fn a_backfill_over_many_requests_uses_all_connections() {
    let (took, requests) = time_of_backfill(ENTRIES, Budget::default());
    assert_eq!(requests, 12);
    check(took);
}

#[test]
fn a_backfill_and_its_checkpoints_share_the_six_connections_of_a_worker() {
    let (time, Slow { store, .. }) = slow_customers(2_000);
    let uneven = Slow::new(store, &time, LATENCY).uneven(30);
    let runner = Runner::new(SixAtOnce::new(uneven), "my-service", vec![backfill()])
        .expect("it can be registered")
        .with_clock(Arc::new(time.clone()))
        .with_log(Arc::new(MemoryLog::default()))
        .with_budget(Budget::default().with_operations(100_000));
    let report = time.run(runner.run_pending(&())).expect("no seventh operation is sent beside six");
    assert!(report.is_finished() && report.details[0].duration_ms > 5_000, "with checkpoints: {report:?}");
}

#[test]
fn a_short_backfill_does_not_wait_to_write_its_marker_again() {
    // These take from less than 2 s, the time between checkpoints, to more than 3 s, with the second between two writes.
    for entries in (1_100..2_000).step_by(100) {
        let (took, _) = time_of_backfill(entries, Budget::default().with_operations(100_000));
        let best = LATENCY * least(entries) / CONNECTIONS;
        assert!(
            took * 100 <= best * 115,
            "{entries} take {took:?}, and six connections would do it in {best:?}"
        );
    }
}

#[test]
fn a_checkpoint_and_entries_do_not_wait_for_each_other() {
    let time = VirtualTime::starting_at(start());
    let store = MemoryStore::with_clock(time.clone());
    for number in 0..2_000 {
        store.insert(&format!("user_{number:05}"), "x");
    }
    let slow = Slow::new(store.clone(), &time, Duration::from_millis(300));
    let asked = time.clone();
    // As with `fetch`: every third entry is only looked up elsewhere, and not written.
    let backfill = Backfill::new("user_", async move |_, record, ()| {
        let number: u64 = record.name().trim_start_matches("user_").parse()?;
        if number.is_multiple_of(3) {
            asked.sleep(Duration::from_millis(100 + number * 37 % 400)).await;
            return Ok(());
        }
        Ok(record.put("y").await?)
    });
    let runner = Runner::new(slow, "sim", vec![Migration::backfill("long", "", backfill)])
        .unwrap()
        .with_clock(Arc::new(time.clone()))
        .with_log(Arc::new(MemoryLog::default()))
        .with_budget(Budget::default().with_operations(100_000).with_time(Duration::from_secs(100_000)));
    let (report, took) = timed(&time, runner.run_pending(&()));
    assert!(report.unwrap().is_finished(), "{took:?}");
}
