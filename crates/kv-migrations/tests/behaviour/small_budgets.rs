//! A budget that is too small for what a run itself needs: it ends with an error that says what to set, and never goes on
//! without getting further.

use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use kv_migrations::coordinator::RunOutcome;
use kv_migrations::kv::MemoryStore;
use kv_migrations::testing::{MemoryLog, VirtualTime};
use kv_migrations::{Backfill, Budget, Fold, FoldOutput, Migration, Rekey, Runner};

use crate::object::Object;
use crate::service::{InitialEntry, Service, failure, marking, quiet, start, unmarking};
use crate::stores::{Forgetful, ShortPages, Slow};

/// More than any of these takes that gets further with each request.
const MAX_REQUESTS: usize = 300;

type Kind = (&'static str, fn() -> Migration);

const KINDS: [Kind; 8] = [
    ("a backfill", || Migration::backfill("long", "", marking())),
    ("a backfill that reads singly", || Migration::backfill("long", "", marking().read_singly())),
    ("a backfill in batches", batches),
    ("a fold", fold),
    ("a merging fold", merging_fold),
    ("a re-key", || rekey(Rekey::prefix("user_", "user:"))),
    ("a re-key that copies", || rekey(Rekey::prefix("user_", "user:").copying())),
    ("a re-key that deletes", || rekey(Rekey::prefix("old_", "new_").deleting())),
];

fn batches() -> Migration {
    let batches = Backfill::in_batches("user_", 3, async |kv, records, ()| {
        for record in records {
            let _ = kv.text(record.name()).await?;
        }
        Ok(())
    });
    Migration::backfill("long", "", batches)
}

fn fold() -> Migration {
    let number = Fold::new(
        "user_",
        || 0_u64,
        |number: &mut u64, _, ()| {
            *number += 1;
            Ok(())
        },
        |number, ()| Ok((0..*number).map(|seen| FoldOutput::new(format!("seen_{seen}"), "1")).collect()),
    );
    Migration::fold("long", "", number)
}

/// Reads two keys at its end, and writes as many as there are entries.
fn merging_fold() -> Migration {
    let number = Fold::merging(
        "user_",
        || 0_u64,
        |number: &mut u64, _, ()| {
            *number += 1;
            Ok(())
        },
        async |kv, number, ()| {
            let before = kv.text("seen_0").await?.is_some() || kv.text("seen_1").await?.is_some();
            let output = |seen| FoldOutput::new(format!("seen_{seen}"), before.to_string()).keep_metadata();
            Ok((0..*number).map(output).collect())
        },
    );
    Migration::fold("long", "", number)
}

fn rekey(rekey: Rekey) -> Migration {
    Migration::rekey("long", "", rekey.with_visibility_delay(Duration::from_secs(2)))
}

/// A service with this many entries for each kind, and this many markers that somebody set by hand.
fn service(entries: usize, markers: usize) -> Service {
    let service = Service::new();
    for number in 0..entries {
        for prefix in ["user_", "old_", "new_"] {
            service.store.insert(&format!("{prefix}{number:03}"), "x");
        }
    }
    for number in 0..markers {
        service.store.insert(&format!("migration_my-service_{number:03}"), "true");
    }
    service
}

fn by_hand(markers: usize, migration: Migration) -> Vec<Migration> {
    (0..markers).map(|number| quiet(format!("{number:03}"))).chain([migration]).collect()
}

/// The runner of a service whose lists have seven keys a page, or fifty if there are many markers.
fn runner(service: &Service, operations: u64, migrations: Vec<Migration>) -> Runner {
    let keys = if migrations.len() > 1 { 50 } else { 7 };
    service
        .runner_on(ShortPages(service.store.clone(), keys), migrations)
        .with_budget(Budget::default().with_operations(operations))
}

/// The error of a run that fails; `None` if it finishes.
fn end(service: &Service, runner: &Runner, situation: &str) -> Option<String> {
    for _ in 0..MAX_REQUESTS {
        match service.request(runner) {
            Ok(report) if report.is_finished() => return None,
            Ok(_) => {}
            error => return Some(failure(error).reason),
        }
    }
    panic!("{situation}: after {MAX_REQUESTS} requests it neither ends nor fails");
}

/// The budget that an error asks for.
fn asked_for(error: &str) -> Option<u64> {
    error.split("Set at least ").nth(1)?.split(' ').next()?.parse().ok()
}

fn assert_ends(name: &str, make: fn() -> Migration, operations: u64, entries: usize, markers: usize) {
    let situation = format!("{name} of {entries} entries, {markers} markers, a budget of {operations}");
    let service = service(entries, markers);
    let Some(error) = end(&service, &runner(&service, operations, by_hand(markers, make())), &situation)
    else {
        return;
    };
    let enough =
        asked_for(&error).unwrap_or_else(|| panic!("{situation}: it does not say what to set: {error}"));
    assert!(enough > operations, "{situation}: {error}");
    let runner = runner(&service, enough, by_hand(markers, make()));
    let error = end(&service, &runner, &situation);
    assert_eq!(error, None, "{situation}: {enough} are not enough");
    assert!(block_on(runner.is_run("long")).unwrap(), "{situation}");
}

#[test]
fn a_budget_of_a_few_operations_fails_and_says_how_many_would_do() {
    for (name, make) in KINDS {
        for entries in [0, 7, 20] {
            for operations in 0..24 {
                assert_ends(name, make, operations, entries, 0);
            }
        }
    }
}

#[test]
fn a_budget_that_the_markers_use_up_fails_and_says_how_many_would_do() {
    for (name, make) in KINDS {
        for operations in [0, 3, 50].into_iter().chain(98..124) {
            assert_ends(name, make, operations, 8, 100);
        }
    }
}

/// Each request lists all pages from the first one, and none gets beyond those that are done.
#[test]
fn a_budget_that_is_too_small_for_a_store_that_forgets_its_cursors_fails_and_says_so() {
    for (name, make) in KINDS {
        let service = service(200, 0);
        let request = |operations| {
            let store = Forgetful::new(ShortPages(service.store.clone(), 2));
            let runner = service.runner_on(store, vec![make()]);
            service.request(&runner.with_budget(Budget::default().with_operations(operations)))
        };
        let mut ended = None;
        for _ in 0..MAX_REQUESTS {
            match request(40) {
                Ok(report) if report.is_finished() => {
                    panic!("{name}: a hundred pages do not fit into 40 operations")
                }
                Ok(_) => {}
                error => {
                    ended = Some(failure(error).reason);
                    break;
                }
            }
        }
        let error = ended.unwrap_or_else(|| panic!("{name}: it pauses again and again"));
        assert!(
            error.contains("the 40 KV operations") && error.contains("a larger budget"),
            "{name}: {error}"
        );
        let is_finished = (0..MAX_REQUESTS).any(|_| match request(400) {
            Ok(report) => report.is_finished(),
            error => panic!("{name}: 400 are enough: {}", failure(error).reason),
        });
        assert!(is_finished, "{name}");
    }
}

#[test]
fn an_up_for_which_the_markers_leave_no_operation_fails() {
    let service = service(0, 100);
    let writing = Migration::new("long", "", async |kv, ()| Ok(kv.put("key", "value").await?));
    let runner = runner(&service, 100, by_hand(100, writing));
    let error = end(&service, &runner, "an `up`").expect("nothing is left for it");
    assert!(error.contains("the 100 KV operations") && error.contains("reads of markers"), "{error}");
    assert!(error.contains("a larger budget"), "{error}");
}

#[test]
fn a_budget_of_milliseconds_ends_too() {
    for (name, make) in KINDS {
        for milliseconds in (0..240).step_by(20) {
            let time = VirtualTime::starting_at(start());
            let store = MemoryStore::with_clock(time.clone());
            service(20, 0)
                .store
                .entries()
                .iter()
                .for_each(|(key, value)| store.insert(&key.name, value.clone()));
            let slow = Slow::new(ShortPages(store, 7), &time, Duration::from_millis(10));
            let runner = Runner::new(slow, "my-service", vec![make()])
                .expect("it can be registered")
                .with_clock(Arc::new(time.clone()))
                .with_log(Arc::new(MemoryLog::default()))
                .with_budget(Budget::default().with_time(Duration::from_millis(milliseconds)));
            let is_over = (0..MAX_REQUESTS).any(|_| match time.run(runner.run_pending(&())) {
                Ok(report) => {
                    time.advance(report.retry_after.unwrap_or_default());
                    report.is_finished()
                }
                error => {
                    let error = failure(error).reason;
                    assert!(error.contains("0 seconds that a request may take"), "{name}: {error}");
                    true
                }
            });
            assert!(is_over, "{name}, {milliseconds} ms: it neither ends nor fails");
        }
    }
}

#[test]
fn a_rollback_with_a_budget_of_a_few_operations_ends_too() {
    for operations in 0..40 {
        let service = service(20, 0);
        let make = || vec![Migration::backfill("long", "", marking()).with_down_backfill(unmarking())];
        service.migrate(make());
        let runner = runner(&service, operations, make());
        let is_over = (0..MAX_REQUESTS).any(|_| match block_on(runner.rollback("long", &())) {
            Ok(report) => {
                service.clock.advance(report.retry_after.unwrap_or_default());
                report.is_finished()
            }
            error => {
                let error = failure(error).reason;
                assert!(asked_for(&error).is_some_and(|enough| enough > operations), "{error}");
                true
            }
        });
        assert!(is_over, "a budget of {operations}: it neither ends nor fails");
    }
}

#[test]
fn a_run_of_a_coordinator_with_a_budget_of_a_few_operations_ends_too() {
    for (name, make) in KINDS {
        for operations in (0..24).step_by(2) {
            let budget = Budget::default().with_operations(operations);
            let object = Object { budget, ..Object::new() }.with_users(20);
            for number in 0..8 {
                object.kv.insert(&format!("old_{number}"), "x");
                object.kv.insert(&format!("new_{number}"), "x");
            }
            let coordinator = object.instance_on(ShortPages(object.kv.clone(), 7), vec![make()]);
            let _ = object.migrate(&coordinator);
            object.pass(&coordinator, Duration::from_hours(2));
            let history = coordinator.history().expect("it can be read");
            let situation = format!("{name}, a budget of {operations}: {:?}", history[0]);
            match history[0].outcome {
                RunOutcome::Finished => {}
                RunOutcome::Failed => {
                    let error = &history[0].failures[0].error;
                    assert!(asked_for(error).is_some_and(|enough| enough > operations), "{situation}");
                }
                _ => panic!("after two hours it goes on: {situation}"),
            }
        }
    }
}

#[test]
fn an_entry_that_needs_more_than_the_whole_budget_is_still_told_as_such() {
    let service = Service::holding(&[InitialEntry::new("user_1", "x")], 100);
    let greedy = Backfill::new("user_", async |kv, _, ()| {
        for number in 0..200 {
            kv.text(&format!("{number}")).await?;
        }
        Ok(())
    });
    let migration = Migration::backfill("long", "", greedy);
    let error = end(&service, &service.runner(vec![migration]), "a greedy closure").expect("it fails");
    assert!(error.starts_with("a single entry needs more than the 100 KV operations"), "{error}");
}
