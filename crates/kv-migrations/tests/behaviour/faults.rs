//! KV fails, or the process ends, at any operation: the guarantees hold, and the next run finishes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::executor::block_on;
use kv_migrations::clock::Clock;
use kv_migrations::testing::{DelayedKv, Fault, faulty};
use kv_migrations::{Error, Migration};
use proptest::prelude::*;

use crate::service::{Service, good, quiet, start};

/// Three migrations. The second one is finished only with its last write.
fn migrations() -> Vec<Migration> {
    let steps = Migration::new("002", "In steps", async |kv, ()| {
        for step in ["a", "b", "c"] {
            kv.put(&format!("step/{step}"), "done").clear_metadata().clear_expiration().await?;
        }
        Ok(())
    });
    vec![good("001"), steps, good("003")]
}

/// Counts how often it runs.
fn counting(times: &Arc<AtomicU64>) -> Migration {
    let times = times.clone();
    Migration::new("001", "", async move |_, ()| {
        times.fetch_add(1, Ordering::Relaxed);
        Ok(())
    })
}

/// More operations than a run makes.
const BEYOND: u64 = 16;

fn is_applied(service: &Service, id: &str) -> bool {
    service.text(&format!("migration_my-service_{id}")).as_deref() == Some("true")
}

fn is_finished(service: &Service, id: &str) -> bool {
    let data: &[&str] = match id {
        "002" => &["step/a", "step/b", "step/c"],
        "001" => &["done/001"],
        _ => &["done/003"],
    };
    data.iter().all(|key| service.text(key).is_some())
}

/// What must hold after every run.
fn check_guarantees(service: &Service, fault: Fault) {
    let ids = ["001", "002", "003"];
    for id in ids {
        assert!(
            !is_applied(service, id) || is_finished(service, id),
            "{fault:?}: {id} is marked, but has not finished"
        );
    }
    for pair in ids.windows(2) {
        assert!(
            is_finished(service, pair[0]) || !is_finished(service, pair[1]),
            "{fault:?}: {} ran before {}",
            pair[1],
            pair[0]
        );
    }
}

fn run_with(fault: Fault) {
    let service = Service::new();
    let first =
        block_on(service.runner_on(faulty(service.store.clone(), fault), migrations()).run_pending(&()));
    check_guarantees(&service, fault);
    let all = ["001", "002", "003"].iter().all(|id| is_applied(&service, id));
    assert!(first.is_err() || all, "{fault:?}: the run said that all went well");

    service.migrate(migrations());
    for id in ["001", "002", "003"] {
        assert!(
            is_applied(&service, id) && is_finished(&service, id),
            "{fault:?}: the next run left {id} undone"
        );
    }
}

#[test]
fn a_fault_anywhere_keeps_the_guarantees_and_the_next_run_finishes() {
    for operation in 0..BEYOND {
        for fault in [Fault::Refused(operation), Fault::AnswerLost(operation), Fault::Crash(operation)] {
            run_with(fault);
        }
    }
}

proptest! {
    #[test]
    fn refusals_of_a_few_seconds_do_not_fail_the_run(
        from in 0..BEYOND,
        count in 1_u64..=4,
        status in prop_oneof![Just(429), 500_u16..=599],
    ) {
        let service = Service::new();
        let store = faulty(service.store.clone(), Fault::temporary(status, from, count));
        let report = block_on(service.runner_on(store, migrations()).run_pending(&()));
        prop_assert_eq!(report.map_err(|error| error.to_string()).map(|report| report.ran.len()), Ok(3));
    }

    #[test]
    fn after_several_crashes_a_run_finishes(
        breaks in proptest::collection::vec(0..BEYOND, 0..6)
    ) {
        let service = Service::new();
        for operation in breaks {
            let fault = Fault::Crash(operation);
            let store = faulty(service.store.clone(), fault);
            let _ = block_on(service.runner_on(store, migrations()).run_pending(&()));
            check_guarantees(&service, fault);
        }
        service.migrate(migrations());
        for id in ["001", "002", "003"] {
            prop_assert!(is_applied(&service, id) && is_finished(&service, id), "{} is undone", id);
        }
    }
}

#[test]
fn refusals_for_longer_fail_the_migration() {
    let service = Service::new();
    // The third operation writes the marker; the one that would record the failure is refused, too.
    let store = faulty(service.store.clone(), Fault::temporary(429, 2, 100));
    let error = block_on(service.runner_on(store, vec![quiet("001")]).run_pending(&())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Migration 001 failed: it could not be marked as applied: KV put of `migration_my-service_001` failed: \
         429 injected"
    );
    assert!(!is_applied(&service, "001"));
}

#[test]
fn retries_are_1_2_4_and_8_seconds_apart() {
    for (count, seconds) in [(1, 1), (2, 3), (3, 7), (4, 15)] {
        let service = Service::new();
        let store = faulty(service.store.clone(), Fault::temporary(503, 0, count));
        block_on(service.runner_on(store, vec![quiet("001")]).run_pending(&())).unwrap();
        let waited = service.clock.now().duration_since(start()).unwrap();
        assert_eq!(waited.as_secs(), seconds, "after {count} refusals");
    }
}

#[test]
fn a_refusal_that_cannot_pass_is_not_retried() {
    let service = Service::new();
    let store = faulty(service.store.clone(), Fault::temporary(413, 0, 1));
    let error = block_on(service.runner_on(store, vec![quiet("001")]).run_pending(&())).unwrap_err();
    assert!(matches!(error, Error::Ledger(_)), "{error}");
    assert_eq!(service.clock.now(), start(), "nothing was waited for");
}

#[test]
fn a_failure_keeps_the_marker_of_another_run() {
    let service = Service::new();
    let elsewhere = service.clone();
    let late = Migration::new("001", "", async move |_, ()| {
        elsewhere.runner(vec![quiet("001")]).run_pending(&()).await?;
        Err("the old keys are gone".into())
    });
    block_on(service.runner(vec![late]).run_pending(&())).unwrap_err();
    assert!(is_applied(&service, "001"), "the other run's marker must stay");
}

#[test]
fn a_run_elsewhere_within_kvs_delay_repeats_the_ups() {
    let service = Service::new();
    let times = Arc::new(AtomicU64::new(0));
    let kv = DelayedKv::new(service.store.clone(), service.clock.clone(), Duration::from_mins(1));
    for location in [0, 1] {
        block_on(service.runner_on(kv.at(location), vec![counting(&times)]).run_pending(&())).unwrap();
    }
    assert_eq!(times.load(Ordering::Relaxed), 2, "as docs/reference/guarantees.md says");
    assert!(is_applied(&service, "001"));
}

#[test]
fn a_rollback_that_fails_anywhere_can_be_repeated() {
    for operation in 0..4 {
        for fault in [Fault::Refused(operation), Fault::AnswerLost(operation), Fault::Crash(operation)] {
            let service = Service::new();
            service.migrate(vec![good("001")]);
            let store = faulty(service.store.clone(), fault);
            let first = block_on(service.runner_on(store, vec![good("001")]).rollback("001", &()));
            assert!(
                is_applied(&service, "001") || !is_finished(&service, "001"),
                "{fault:?}: unmarked, but not undone"
            );
            if first.is_err() && is_applied(&service, "001") {
                block_on(service.runner(vec![good("001")]).rollback("001", &())).unwrap();
            }
            assert!(!is_applied(&service, "001") && !is_finished(&service, "001"), "{fault:?}");
        }
    }
}

#[test]
fn an_up_that_finished_unmarked_runs_again() {
    let service = Service::new();
    let times = Arc::new(AtomicU64::new(0));
    let store = faulty(service.store.clone(), Fault::Crash(2));
    block_on(service.runner_on(store, vec![counting(&times)]).run_pending(&())).unwrap_err();
    service.migrate(vec![counting(&times)]);
    assert_eq!(times.load(Ordering::Relaxed), 2, "at least once is what KV alone can give");
}
