//! Resetting a migration that has begun or failed, without a coordinator.

use futures::executor::block_on;
use kv_migrations::kv::Kv;
use kv_migrations::{Budget, Error, Migration, Rekey, State, Status};

use crate::service::{Service, failing, failure, filled, good, ids, marked, marking, unmarking};

fn long() -> Migration {
    Migration::backfill("001", "Marks every user", marking()).with_down_backfill(unmarking())
}

fn status(service: &Service, migrations: Vec<Migration>) -> Status {
    block_on(service.runner(migrations).status()).expect("it can be read").remove(0)
}

#[test]
fn a_checkpoint_that_cannot_be_read_fails_the_migration_and_a_reset_starts_it_over() {
    let service = filled(1_700);
    block_on(service.runner(vec![long()]).run_pending(&())).expect("nothing fails");
    assert_eq!(status(&service, vec![long()]).state, State::Running);

    let of_another_kind = || vec![Migration::rekey("001", "", Rekey::prefix("user_", "user:"))];
    let failed = failure(block_on(service.runner(of_another_kind()).run_pending(&())));
    assert!(failed.reason.ends_with("reset it to start over: POST /migrations/001/reset"), "{failed}");
    let shown = status(&service, of_another_kind());
    assert_eq!(shown.state, State::Failed, "and not running");
    assert!(shown.error.is_some_and(|error| error.starts_with("cannot read its checkpoint")));

    let reset = block_on(service.runner(of_another_kind()).reset("001")).expect("it is not applied");
    assert_eq!((reset.state, reset.run, reset.error), (State::Pending, false, None));
    assert_eq!(service.marker("001"), None);
    assert_eq!(service.migrate(of_another_kind()), ids(&["001"]), "it starts over");
    assert!(service.log.lines().iter().any(|line| line.contains("Reset 001")), "{:?}", service.log.lines());
}

#[test]
fn a_checkpoint_that_could_not_be_read_can_still_be_resumed_by_the_old_version() {
    let service = filled(1_700);
    block_on(service.runner(vec![long()]).run_pending(&())).expect("nothing fails");
    let before = service.store.value("migration_my-service_001");
    let of_another_kind = Migration::rekey("001", "", Rekey::prefix("user_", "user:"));
    failure(block_on(service.runner(vec![of_another_kind]).run_pending(&())));
    assert_eq!(service.store.value("migration_my-service_001"), before);
    assert_eq!(service.migrate(vec![long()]), ids(&["001"]));
    assert_eq!(marked(&service.store), 1_700);
}

#[test]
fn a_failure_is_forgotten() {
    let service = Service::new();
    failure(block_on(service.runner(vec![failing("001")]).run_pending(&())));
    assert_eq!(status(&service, vec![failing("001")]).state, State::Failed);
    let reset = block_on(service.runner(vec![failing("001")]).reset("001")).expect("it is not applied");
    assert_eq!(reset.state, State::Pending);
    assert_eq!(status(&service, vec![failing("001")]).state, State::Pending);
}

#[test]
fn a_rollback_that_is_half_done_is_forgotten_and_the_migration_is_pending() {
    let service = filled(1_700);
    service.migrate(vec![long()]);
    block_on(service.runner(vec![long()]).rollback("001", &())).expect("it begins");
    assert!((1..1_700).contains(&marked(&service.store)));
    block_on(service.runner(vec![long()]).reset("001")).expect("it is not applied");
    assert_eq!(status(&service, vec![long()]).state, State::Pending);
    service.migrate(vec![long()]);
    assert_eq!(marked(&service.store), 1_700);
}

#[test]
fn what_is_applied_is_not_reset_and_what_is_pending_stays_so() {
    let service = Service::new();
    service.migrate(vec![good("001")]);
    let runner = service.runner(vec![good("001"), good("002")]);
    let before = service.store.entries();
    let applied = block_on(runner.reset("001")).expect_err("it is applied");
    assert!(matches!(applied, Error::AlreadyApplied { .. }), "{applied:?}");
    assert_eq!(applied.to_string(), "Migration 001 is applied - cannot reset. Roll it back instead");
    assert_eq!(block_on(runner.reset("002")).expect("it is pending").state, State::Pending);
    let unknown = block_on(runner.reset("003")).expect_err("it is neither registered nor marked");
    assert!(matches!(unknown, Error::UnknownMigration { .. }), "{unknown:?}");
    assert_eq!(service.store.entries(), before);
}

/// Nobody registers it any more, and it is half done.
#[test]
fn a_migration_that_was_removed_is_reset_by_its_id() {
    let service = filled(1_700);
    block_on(service.runner(vec![long()]).run_pending(&())).expect("nothing fails");
    let reset = block_on(service.runner(vec![]).reset("001")).expect("its marker names the service");
    assert_eq!((reset.id.as_str(), reset.state), ("001", State::Pending));
    assert_eq!(service.marker("001"), None);
}

/// `auth` and `v2_001` have the same key as `auth_v2` and `001`.
#[test]
fn what_may_be_a_marker_of_another_service_is_not_reset() {
    let service = filled(1_700);
    let (auth, auth_v2) = (service.neighbour("auth"), service.neighbour("auth_v2"));
    block_on(auth_v2.runner(vec![long()]).run_pending(&())).expect("nothing fails");
    // By hand, or by a runner that names no service.
    service.put("migration_auth_v2_002", "half", None);
    let before = service.store.entries();
    for (id, why) in [("v2_001", "belongs to the service `auth_v2`"), ("v2_002", "names no service")] {
        let refused = block_on(auth.runner(vec![good("001")]).reset(id)).expect_err("it is not its own");
        assert!(matches!(refused, Error::ForeignMarker(_)), "{refused:?}");
        assert!(refused.to_string().contains(why), "{refused}");
    }
    assert_eq!(service.store.entries(), before);

    // Registered, the id is the service's own, unless the marker names another service.
    let own = auth.runner(vec![good("v2_001"), good("v2_002")]);
    assert!(matches!(block_on(own.reset("v2_001")), Err(Error::ForeignMarker(_))));
    assert_eq!(block_on(own.reset("v2_002")).expect("it names no service").state, State::Pending);
}

#[test]
fn nothing_is_reset_during_a_run() {
    let service = Service::new();
    let lock = kv_migrations::RunLock::new();
    let resetting = service.runner(vec![good("001")]).with_lock(lock.clone());
    let outcome = std::sync::Arc::new(std::sync::Mutex::new(None));
    let (seen, other) = (outcome.clone(), std::sync::Arc::new(resetting));
    let running = Migration::new("001", "", async move |_: &Kv, (): &()| {
        let refused = other.reset("001").await;
        *seen.lock().unwrap() = Some(matches!(refused, Err(Error::RunInProgress { .. })));
        Ok(())
    });
    let runner = service.runner(vec![running]).with_lock(lock).with_budget(Budget::default());
    block_on(runner.run_pending(&())).expect("nothing fails");
    assert_eq!(*outcome.lock().unwrap(), Some(true));
}
