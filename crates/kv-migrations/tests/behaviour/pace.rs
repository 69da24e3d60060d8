//! How many entries are worked on at once, and calls outside of KV, which count against the budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use kv_migrations::clock::Clock;
use kv_migrations::testing::{MemoryLog, VirtualTime};
use kv_migrations::{Backfill, Budget, Migration, Runner};

use crate::service::{Service, failure, filled, marked, start};

/// The most entries of a backfill whose calls are under way at once. Each calls something that takes 100 ms.
fn most_at_once(set: impl Fn(Backfill) -> Backfill) -> usize {
    let time = VirtualTime::starting_at(start());
    let (calls, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (seen, clock) = (most.clone(), time.clone());
    let backfill = Backfill::new("user_", async move |_, _, ()| {
        seen.fetch_max(calls.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        clock.sleep(Duration::from_millis(100)).await;
        calls.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    });
    let runner = Runner::new(filled(200).store, "sim", vec![Migration::backfill("001", "", set(backfill))])
        .expect("it can be registered")
        .with_clock(Arc::new(time.clone()))
        .with_log(Arc::new(MemoryLog::default()));
    assert!(time.run(runner.run_pending(&())).expect("it succeeds").is_finished());
    most.load(Ordering::Relaxed)
}

#[test]
fn no_more_entries_are_worked_on_at_once_than_the_backfill_says() {
    assert_eq!(most_at_once(|backfill| backfill), 12);
    for concurrency in [1, 2, 5, 12] {
        assert_eq!(most_at_once(|backfill| backfill.with_concurrency(concurrency)), concurrency);
    }
    assert_eq!(most_at_once(|backfill| backfill.with_concurrency(0)), 1, "it does not stand still");
    assert_eq!(
        most_at_once(|backfill| backfill.with_concurrency(100)),
        12,
        "more would wait with their values"
    );
    assert_eq!(most_at_once(Backfill::one_at_a_time), 1);
}

/// Marks users, and makes calls outside of KV for each. Counts them.
fn calling(calls: u64, made: &Arc<AtomicU64>) -> Vec<Migration> {
    let made = made.clone();
    let backfill = Backfill::new("user_", async move |kv, record, ()| {
        kv.spend(calls)?;
        made.fetch_add(calls, Ordering::Relaxed);
        Ok(record.put([record.value(), b"+"].concat()).await?)
    });
    vec![Migration::backfill("long", "", backfill)]
}

#[test]
fn calls_outside_of_kv_count_against_the_budget() {
    let (service, made) = (filled(1_000), Arc::new(AtomicU64::new(0)));
    let runner = service.runner(calling(4, &made));
    let mut requests = 0;
    loop {
        let before = (made.load(Ordering::Relaxed), service.store.operations());
        let report = service.request(&runner).expect("it succeeds");
        requests += 1;
        let calls = made.load(Ordering::Relaxed) - before.0;
        let all = calls + service.store.operations() - before.1;
        assert!(all <= 980, "{calls} calls, {all} with the operations of KV");
        if report.is_finished() {
            break;
        }
    }
    assert_eq!((made.load(Ordering::Relaxed), marked(&service.store)), (4_000, 1_000), "each was made once");
    assert_eq!(requests, 6, "5 for each entry, 900 for each request");
}

#[test]
fn an_entry_whose_calls_no_budget_covers_fails_and_makes_none() {
    let (service, made) = (filled(3), Arc::new(AtomicU64::new(0)));
    let failed = failure(service.drive(&service.runner(calling(2_000, &made))));
    assert!(failed.reason.starts_with("a single entry needs more than the 900 KV operations"), "{failed}");
    assert_eq!(made.load(Ordering::Relaxed), 0);
}

#[test]
fn an_entry_that_hides_that_its_calls_were_refused_is_not_done() {
    let service = filled(400);
    let made = Arc::new(AtomicU64::new(0));
    let counted = made.clone();
    let backfill = Backfill::new("user_", async move |kv, record, ()| {
        // Some cost much more than those before.
        let calls = if record.name().ends_with("99") { 85 } else { 1 };
        if kv.spend(calls).is_ok() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    });
    let runner = service.runner(vec![Migration::backfill("long", "", backfill.skip_failures(100))]);
    service.drive(&runner.with_budget(Budget::default().with_operations(90))).expect("it succeeds");
    assert!(made.load(Ordering::Relaxed) >= 400, "{made:?}: an entry is taken for done");
}

#[test]
fn calls_of_an_up_in_one_piece_count_too() {
    let service = Service::new();
    let calling = |calls| {
        vec![Migration::new("long", "", async move |kv, ()| {
            kv.spend(calls)?;
            Ok(kv.put("done", "1").await?)
        })]
    };
    let failed = failure(service.drive(&service.runner(calling(1_000))));
    assert!(failed.reason.starts_with("it needs more than the 900 KV operations"), "{failed}");
    assert_eq!(service.text("done"), None);
    let reports = service.drive(&service.runner(calling(500))).expect("500 fit");
    assert!(reports[0].operations > 500, "{reports:?}");
}

#[test]
fn entries_are_deleted_by_their_age_by_the_clock_of_the_run() {
    let service = Service::new();
    let now = service.clock.now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let day = 24 * 60 * 60;
    for (name, age) in [("old", 91 * day), ("young", 89 * day), ("ahead", 0)] {
        let written = if name == "ahead" { now + 1_000 } else { now - age };
        service.store.insert(&format!("draft_{name}"), written.to_string());
    }
    let backfill = Backfill::new("draft_", async |kv, draft, ()| {
        let written = UNIX_EPOCH + Duration::from_secs(draft.json()?);
        if kv.now().duration_since(written).is_ok_and(|age| age > Duration::from_hours(90 * 24)) {
            draft.delete().await?;
        }
        Ok(())
    });
    service.migrate(vec![Migration::backfill("long", "", backfill)]);
    let left: Vec<bool> =
        ["old", "young", "ahead"].map(|name| service.text(&format!("draft_{name}")).is_some()).to_vec();
    assert_eq!(left, [false, true, true]);
}
