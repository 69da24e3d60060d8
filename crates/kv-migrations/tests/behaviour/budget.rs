//! A run stops before its budget is used up, and reports what remains.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::executor::block_on;
use kv_migrations::clock::Clock;
use kv_migrations::kv::{MemoryStore, Request};
use kv_migrations::testing::{MemoryLog, VirtualTime};
use kv_migrations::{Backfill, Budget, Error, Migration, Runner, State};

use crate::service::{Service, failure, ids, quiet, start};
use crate::stores::{Refusing, Slow};

/// Writes this many keys, one after the other.
fn writing(id: &'static str, keys: u32) -> Migration {
    Migration::new(id, "", async move |kv, ()| {
        for number in 0..keys {
            kv.put(&format!("{id}/{number}"), "x").clear_metadata().clear_expiration().await?;
        }
        Ok(())
    })
}

fn runner(service: &Service, operations: u64, migrations: Vec<Migration>) -> Runner {
    service.runner(migrations).with_budget(Budget::default().with_operations(operations))
}

#[test]
fn many_small_migrations_take_several_runs() {
    let service = Service::new();
    let all: Vec<Migration> = (0..100).map(|number| quiet(format!("{number:03}"))).collect();
    let runner = runner(&service, 40, all);
    let first = block_on(runner.run_pending(&())).unwrap();
    assert!(!first.is_finished());
    assert_eq!(first.ran.len() + first.remaining.len(), 100);
    assert!(first.operations <= 40, "{}", first.operations);
    assert_eq!(first.remaining[0], format!("{:03}", first.ran.len()));
    assert_eq!(first.retry_after, Some(Duration::from_secs(1)));

    let mut runs = 1;
    while !block_on(runner.run_pending(&())).unwrap().is_finished() {
        runs += 1;
    }
    assert!((3..8).contains(&runs), "{runs}");
    assert!(block_on(runner.status()).unwrap().iter().all(|status| status.run));
}

#[test]
fn an_up_larger_than_the_budget_fails_and_suggests_a_backfill() {
    let service = Service::new();
    let failure = failure(block_on(runner(&service, 50, vec![writing("001", 60)]).run_pending(&())));
    assert_eq!(
        failure.to_string(),
        "Migration 001 failed: it needs more than the 50 KV operations and 25 seconds that a request may take, \
         reads of markers included: make it a backfill, or set a larger budget, if the Worker may make more"
    );
    let status = block_on(service.runner(vec![writing("001", 60)]).status()).unwrap();
    assert_eq!(status[0].state, State::Failed);
    assert!(service.text("001/47").is_some(), "it went as far as it could");
}

#[test]
fn an_up_that_ignores_the_end_of_its_budget_is_not_applied() {
    let service = Service::new();
    let hiding = Migration::new("001", "", async |kv, ()| {
        for number in 0..60 {
            let _ = kv.put(&format!("{number}"), "x").clear_metadata().clear_expiration().await;
        }
        Ok(())
    });
    failure(block_on(runner(&service, 50, vec![hiding]).run_pending(&())));
    assert!(!block_on(service.runner(vec![quiet("001")]).is_run("001")).unwrap());
}

#[test]
fn an_up_late_in_a_run_gets_a_full_budget_in_the_next_run() {
    let service = Service::new();
    let migrations = || vec![writing("001", 15), writing("002", 45)];
    let runner = runner(&service, 50, migrations());
    let first = block_on(runner.run_pending(&())).unwrap();
    assert_eq!((first.ran, first.remaining), (ids(&["001"]), ids(&["002"])));
    assert!(first.progress.is_none(), "it begins from the beginning");
    let second = block_on(runner.run_pending(&())).unwrap();
    assert_eq!(second.ran, ids(&["002"]));
    assert!(second.is_finished());
}

#[test]
fn an_up_longer_than_the_time_limit_fails() {
    let service = Service::new();
    let clock = service.clock.clone();
    let slow = Migration::new("001", "", async move |kv, ()| {
        for number in 0..60 {
            clock.sleep(Duration::from_secs(1)).await;
            kv.put(&format!("{number}"), "x").clear_metadata().clear_expiration().await?;
        }
        Ok(())
    });
    let failure = failure(block_on(service.runner(vec![slow]).run_pending(&())));
    assert!(failure.reason.contains("25 seconds"), "{}", failure.reason);
    assert!(service.text("23").is_some() && service.text("24").is_none());
}

#[test]
fn a_backfill_stops_at_the_time_limit_and_continues() {
    let service = Service::new();
    for number in 0..40 {
        service.store.insert(&format!("user_{number:02}"), "x");
    }
    let clock = service.clock.clone();
    let slow = Backfill::new("user_", async move |_, record, ()| {
        clock.sleep(Duration::from_secs(1)).await;
        Ok(record.put("y").await?)
    });
    let runner = service.runner(vec![Migration::backfill("001", "", slow)]);
    let mut runs = 0;
    loop {
        let start = service.clock.now();
        let report = block_on(runner.run_pending(&())).unwrap();
        let took = service.clock.now().duration_since(start).unwrap().as_secs();
        assert!(took <= 40, "{took} s");
        runs += 1;
        if report.is_finished() {
            break;
        }
    }
    assert!(runs >= 2, "{runs}");
    assert!((0..40).all(|number| service.text(&format!("user_{number:02}")).as_deref() == Some("y")));
}

#[test]
fn an_entry_larger_than_the_budget_fails_the_backfill() {
    let service = Service::new();
    service.store.insert("user_1", "x");
    let greedy = Backfill::new("user_", async |kv, _, ()| {
        for number in 0..60 {
            kv.put(&format!("{number}"), "x").clear_metadata().clear_expiration().await?;
        }
        Ok(())
    });
    let runner = runner(&service, 50, vec![Migration::backfill("001", "", greedy)]);
    // The first run has counted it.
    assert!(!block_on(runner.run_pending(&())).unwrap().is_finished());
    let failure = failure(block_on(runner.run_pending(&())));
    assert!(failure.reason.starts_with("a single entry needs more than the 50 KV operations"), "{failure}");
    assert_eq!(block_on(runner.status()).unwrap()[0].state, State::Failed);
}

/// In virtual time, in which the operations of several entries alternate.
#[test]
fn a_run_that_resumes_at_the_end_of_a_page_begins_with_one_costly_entry_alone() {
    // The first page ends with the thousandth key. Some requests end just there, others a few entries before.
    for costly_from in (970..=1_010).step_by(5) {
        let time = VirtualTime::starting_at(start());
        let store = MemoryStore::with_clock(time.clone());
        for number in 0..1_020 {
            store.insert(&format!("user_{number:05}"), "x");
        }
        let reading = Backfill::new("user_", async move |kv, record, ()| {
            let number: u32 = record.name().trim_start_matches("user_").parse()?;
            for read in 0..if number < costly_from { 0 } else { 160 } {
                kv.text(&format!("read_{read}")).await?;
            }
            Ok(record.put("done").await?)
        });
        let slow = Slow::new(store.clone(), &time, Duration::from_millis(10));
        let runner = Runner::new(slow, "my-service", vec![Migration::backfill("001", "", reading)])
            .unwrap()
            .with_clock(Arc::new(time.clone()))
            .with_log(Arc::new(MemoryLog::default()));
        let mut requests = 0;
        loop {
            let report = time.run(runner.run_pending(&()));
            let report = report.unwrap_or_else(|error| panic!("costly from {costly_from} on: {error}"));
            requests += 1;
            if report.is_finished() {
                break;
            }
            time.advance(report.retry_after.unwrap_or_default());
        }
        assert!(requests <= 16, "costly from {costly_from} on: {requests} requests");
        assert_eq!(store.value("user_01019").unwrap(), b"done");
    }
}

#[test]
fn a_rollback_larger_than_the_budget_fails_and_stays_applied() {
    let service = Service::new();
    let large = || {
        quiet("001").with_down(async |kv, ()| {
            for number in 0..60 {
                kv.delete(&format!("{number}")).await?;
            }
            Ok(())
        })
    };
    service.migrate(vec![large()]);
    let runner = runner(&service, 50, vec![large()]);
    let error = block_on(runner.rollback("001", &())).unwrap_err();
    assert!(matches!(error, Error::Failed(_)), "{error}");
    assert!(error.to_string().contains("make it a backfill"), "{error}");
    assert!(block_on(runner.is_run("001")).unwrap());
}

#[test]
fn an_up_that_ran_out_of_time_through_refusals_names_them() {
    let service = Service::new();
    let tries = AtomicU64::new(0);
    // Each put succeeds at the fourth attempt, after seven seconds.
    let refuses = move |request: Request<'_>| {
        matches!(request, Request::Put { .. }) && tries.fetch_add(1, Ordering::Relaxed) % 4 != 3
    };
    let store = Refusing { store: service.store.clone(), refuses };
    let small = Migration::new("001", "", async |kv, ()| {
        for number in 0..6 {
            kv.put(&format!("{number}"), "x").clear_metadata().clear_expiration().await?;
        }
        Ok(())
    });
    let error = block_on(service.runner_on(store, vec![small]).run_pending(&())).unwrap_err().to_string();
    assert!(error.contains("503"), "{error}");
}
