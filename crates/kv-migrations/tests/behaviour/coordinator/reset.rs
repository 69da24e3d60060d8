//! Resetting a migration that has begun or failed.

use std::time::Duration;

use kv_migrations::coordinator::{
    Caller, Coordinator, CoordinatorError, InterventionKind, RunOutcome, TaskKind,
};
use kv_migrations::{Backfill, BoxError, Error, Migration, Rekey, State, Status};

use crate::object::{Object, marking};
use crate::service::{failing, good};

fn reset(object: &Object, coordinator: &Coordinator, id: &str) -> Result<Status, CoordinatorError> {
    object.serve(coordinator, coordinator.reset(id, &Caller::default().with_label("me")))
}

fn of_another_kind() -> Vec<Migration> {
    vec![Migration::rekey("001", "", Rekey::prefix("user_", "user:"))]
}

/// It can neither be cancelled nor resumed, and the key in KV is but a copy.
#[test]
fn a_checkpoint_that_cannot_be_read_fails_the_migration_and_a_reset_starts_it_over() {
    let object = Object::new().with_users(100);
    object.migrate(&object.instance(vec![marking("001")])).expect("nothing fails");
    let deployed = object.instance(of_another_kind());
    object.pass(&deployed, Duration::from_hours(1));

    let shown = object.status(&deployed, "001");
    assert_eq!(shown.state, State::Failed, "and not running");
    assert!(shown.error.is_some_and(|error| error.contains("POST /migrations/001/reset")));
    let refused = object.serve(&deployed, deployed.cancel("001", &Caller::default()));
    assert!(matches!(refused, Err(CoordinatorError::NotRunning { .. })), "{refused:?}");

    let status = reset(&object, &deployed, "001").expect("it is not applied");
    assert_eq!((status.state, status.error), (State::Pending, None));
    let entry = deployed.history().expect("it can be read").remove(0);
    assert_eq!((entry.action, entry.migration.as_deref()), (TaskKind::Reset, Some("001")));
    assert_eq!((entry.by.as_deref(), entry.outcome), (Some("me"), RunOutcome::Finished));
    object.pass(&deployed, Duration::from_secs(1));
    assert_eq!(object.marker("001"), None, "the copy in KV is deleted too");

    let report = object.serve(&deployed, deployed.run_pending(&Caller::default().queued()));
    assert_eq!(report.expect("it starts over").ran, ["001"]);
}

#[test]
fn a_run_that_waits_to_be_retried_is_cancelled_by_a_reset() {
    let object = Object::new().with_users(100);
    let breaking = Backfill::new("user_", async |_, record, (): &()| {
        if record.key().name == "user_050" {
            return Err(BoxError::from("boom"));
        }
        Ok(record.put("y").await?)
    });
    let coordinator = object.instance(vec![Migration::backfill("001", "", breaking)]);
    object.migrate(&coordinator).expect("the first step succeeds");
    object.pass(&coordinator, Duration::from_secs(20));
    assert_eq!(object.state(&coordinator, "001"), State::Failed);
    assert!(object.status(&coordinator, "001").retry_at.is_some());

    assert_eq!(reset(&object, &coordinator, "001").expect("it waits").state, State::Pending);
    let entry = coordinator.history().expect("it can be read").remove(0);
    assert_eq!((entry.action, entry.outcome), (TaskKind::Migrate, RunOutcome::Cancelled));
    assert_eq!(entry.interventions[0].action, InterventionKind::Reset);
    let status = object.status(&coordinator, "001");
    assert_eq!((status.state, status.progress, status.retry_at), (State::Pending, None, None));
}

#[test]
fn a_paused_run_is_cancelled_by_a_reset_and_a_running_one_is_not() {
    let object = Object::new().with_users(100);
    let coordinator = object.instance(vec![marking("001"), good("002")]);
    object.migrate(&coordinator).expect("nothing fails");
    let refused = reset(&object, &coordinator, "001").expect_err("it is running");
    assert!(matches!(refused, CoordinatorError::InProgress(_)), "{refused:?}");
    assert_eq!(reset(&object, &coordinator, "002").expect("no run is at it").state, State::Pending);

    object.serve(&coordinator, coordinator.pause("001", &Caller::default())).expect("it is under way");
    assert_eq!(reset(&object, &coordinator, "001").expect("it is paused").state, State::Pending);
    assert_eq!(
        object.migrate(&coordinator).expect("no run is paused").progress.map(|it| it.requests),
        Some(1)
    );
}

#[test]
fn a_failure_is_forgotten_and_what_is_applied_is_not() {
    let object = Object::new();
    let coordinator = object.instance(vec![good("001"), failing("002")]);
    object.migrate(&coordinator).expect_err("002 fails");
    assert_eq!(object.state(&coordinator, "002"), State::Failed);
    assert_eq!(reset(&object, &coordinator, "002").expect("it failed").state, State::Pending);
    assert_eq!(object.state(&coordinator, "002"), State::Pending);
    let applied = reset(&object, &coordinator, "001").expect_err("it is applied");
    assert!(matches!(applied, CoordinatorError::Runner(Error::AlreadyApplied { .. })), "{applied:?}");
    assert_eq!(object.state(&coordinator, "001"), State::Applied);
}

#[test]
fn a_migration_that_is_not_registered_is_reset_only_if_its_marker_names_the_service() {
    let object = Object::new().with_users(100);
    let first = object.instance(vec![marking("001")]);
    object.migrate(&first).expect("nothing fails");
    object.serve(&first, first.pause("001", &Caller::default())).expect("it is under way");
    object.kv.insert("migration_my-service_v2_001", "half");

    let deployed = object.instance(vec![good("002")]);
    let foreign = reset(&object, &deployed, "v2_001").expect_err("its marker names no service");
    assert!(matches!(foreign, CoordinatorError::Runner(Error::ForeignMarker(_))), "{foreign:?}");
    assert!(object.kv.value("migration_my-service_v2_001").is_some());
    let unknown = reset(&object, &deployed, "nobody").expect_err("nothing knows it");
    assert!(matches!(unknown, CoordinatorError::Runner(Error::UnknownMigration { .. })), "{unknown:?}");

    assert_eq!(reset(&object, &deployed, "001").expect("it is the service's").state, State::Pending);
    object.pass(&deployed, Duration::from_secs(1));
    assert_eq!(object.marker("001"), None);
    assert_eq!(object.migrate(&deployed).expect("no run is paused").ran, ["002"]);
}

/// After a deploy was taken back.
#[test]
fn a_run_at_a_migration_that_is_not_registered_can_be_cancelled() {
    let object = Object::new().with_users(100);
    object.migrate(&object.instance(vec![good("001"), marking("002")])).expect("nothing fails");
    let older = object.instance(vec![good("001")]);
    let cancelled = object.serve(&older, older.cancel("002", &Caller::default()));
    assert_eq!(cancelled.expect("it is under way").state, State::Pending);
    assert_eq!(older.history().expect("it can be read")[0].outcome, RunOutcome::Cancelled);
    let unknown = object.serve(&older, older.cancel("002", &Caller::default()));
    assert!(matches!(unknown, Err(CoordinatorError::UnknownMigration { .. })), "{unknown:?}");
}
