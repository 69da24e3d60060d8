//! Resetting a migration that has begun or failed.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::executor::block_on;
use futures::future::join;
use kv_migrations::clock::Clock;
use kv_migrations::coordinator::{
    Caller, Coordinator, CoordinatorError, InterventionKind, RowChange, RunOutcome, Storage, TaskKind,
};
use kv_migrations::kv::{Answer, Kv, KvError, MemoryStore, PutOptions, Request, Store, StoreExt};
use kv_migrations::testing::VirtualTime;
use kv_migrations::{Backfill, BoxError, BoxFuture, Error, Migration, Rekey, State, Status};

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
    object.serve(&coordinator, async {
        let caller = Caller::default();
        coordinator.run_pending(&caller).await.expect("nothing fails");
        let refused = coordinator.reset("001", &caller).await.expect_err("it is running");
        assert!(matches!(refused, CoordinatorError::InProgress(_)), "{refused:?}");
        assert_eq!(coordinator.reset("002", &caller).await.expect("no run is at it").state, State::Pending);
        coordinator.pause("001", &caller).await.expect("it is under way");
    });
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

/// Its first step was cut off, so that it is retried although it is the first one.
#[test]
fn a_reset_that_is_refused_ends_no_run() {
    let object = Object::new();
    let down = |fails: bool, time: &VirtualTime| {
        let time = time.clone();
        let down = async move |_: &Kv, (): &()| {
            if fails {
                return Err(BoxError::from("boom"));
            }
            time.sleep(Duration::from_hours(1)).await;
            Ok(())
        };
        vec![Migration::new("001", "", async |_, (): &()| Ok(())).with_down(down)]
    };
    let stuck = object.instance(down(false, &object.time));
    object.migrate(&stuck).expect("nothing fails");
    object.serve_for(Duration::from_secs(1), &stuck, stuck.rollback("001", &Caller::default()));
    let failing = object.instance(down(true, &object.time));
    object.pass(&failing, Duration::from_secs(16));
    assert!(object.status(&failing, "001").retry_at.is_some(), "{:?}", failing.history());

    let refused = reset(&object, &failing, "001").expect_err("it is applied");
    assert!(matches!(refused, CoordinatorError::Runner(Error::AlreadyApplied { .. })), "{refused:?}");
    assert_eq!(failing.history().expect("it can be read")[0].outcome, RunOutcome::Running);
    assert!(object.status(&failing, "001").retry_at.is_some(), "the rollback is still to be retried");
}

/// The object has adopted what KV had before. Then a Worker without the coordinator has run once more.
fn left_in_kv(object: &Object) -> Coordinator {
    let coordinator = object.instance(vec![marking("001")]);
    assert_eq!(object.state(&coordinator, "001"), State::Pending);
    let without = object.runner_on(object.kv.clone(), vec![marking("001")]);
    assert!(!object.time.run(without.run_pending(&())).expect("nothing fails").is_finished());
    assert!(object.marker("001").is_some(), "it has left a checkpoint");
    coordinator
}

#[test]
fn a_checkpoint_that_a_run_without_the_coordinator_left_in_kv_is_forgotten() {
    let object = Object::new().with_users(100);
    let coordinator = left_in_kv(&object);
    assert_eq!(reset(&object, &coordinator, "001").expect("it is not applied").state, State::Pending);
    assert_eq!(coordinator.history().expect("it can be read")[0].action, TaskKind::Reset);
    object.pass(&coordinator, Duration::from_secs(1));
    assert_eq!(object.marker("001"), None);
    let report = object.migrate(&coordinator).expect("nothing fails");
    assert_eq!(report.progress.map(|progress| progress.requests), Some(1), "it starts over");
}

/// As KV may show it for a minute.
#[test]
fn a_migration_that_was_rolled_back_can_be_reset_while_kv_shows_it_as_applied() {
    let object = Object::new();
    let coordinator = object.instance(vec![good("001")]);
    object.migrate(&coordinator).expect("nothing fails");
    let applied = object.kv.entries().into_iter().find(|(key, _)| key.name.starts_with("migration_"));
    let (key, value) = applied.expect("it is marked");
    object.serve(&coordinator, coordinator.rollback("001", &Caller::default())).expect("it has a way back");
    let options = PutOptions::new().with_metadata(key.metadata);
    block_on(object.kv.put(&key.name, &value, &options)).expect("KV takes it");
    assert_eq!(reset(&object, &coordinator, "001").expect("it is not applied").state, State::Pending);
}

/// KV, in which the second read of a marker takes ten seconds.
struct SlowSecond {
    store: MemoryStore,
    time: VirtualTime,
    reads: AtomicU32,
}

impl Store for SlowSecond {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        let is_marker = matches!(request, Request::Get { key } if key.starts_with("migration_"));
        Box::pin(async move {
            let answer = self.store.call(request).await;
            if is_marker && self.reads.fetch_add(1, Ordering::Relaxed) == 1 {
                self.time.sleep(Duration::from_secs(10)).await;
            }
            answer
        })
    }
}

#[test]
fn two_resets_of_a_marker_that_cannot_be_read_do_not_undo_what_is_applied_between_them() {
    let object = Object::new();
    let first = object.instance(vec![good("001")]);
    object.status(&first, "001");
    let name = "marker/migration_my-service_001";
    object.storage.write(&[RowChange::put(name, "damaged")]).expect("memory does not fail");

    let (store, time) = (object.kv.clone(), object.time.clone());
    let coordinator =
        object.instance_on(SlowSecond { store, time, reads: AtomicU32::new(0) }, vec![good("001")]);
    let caller = Caller::default();
    let run = async {
        object.time.sleep(Duration::from_secs(1)).await;
        coordinator.run_pending(&caller).await
    };
    let resets = join(coordinator.reset("001", &caller), coordinator.reset("001", &caller));
    let ((one, other), report) = object.serve(&coordinator, join(resets, run));
    assert_eq!(report.expect("the first reset has made it pending").ran, ["001"]);
    assert_eq!(one.expect("it replaces the row").state, State::Pending);
    assert_eq!(other.expect("another has replaced the row").state, State::Applied);
    assert_eq!(object.state(&coordinator, "001"), State::Applied);
}

/// The step has read the checkpoint in KV, and not written it down.
#[test]
fn a_step_that_adopts_markers_does_not_bring_back_what_was_reset_meanwhile() {
    for milliseconds in 0..60 {
        let object = Object::new().with_users(100);
        let coordinator = left_in_kv(&object);
        let caller = Caller::default();
        let resetting = async {
            object.time.sleep(Duration::from_millis(milliseconds)).await;
            coordinator.reset("001", &caller).await
        };
        let (report, status) = object.serve(&coordinator, join(coordinator.run_pending(&caller), resetting));
        let requests = report.expect("nothing fails").progress.map(|progress| progress.requests);
        let expected = if status.is_ok() { Some(1) } else { Some(2) };
        assert_eq!(requests, expected, "after {milliseconds} ms: {status:?}");
    }
}
