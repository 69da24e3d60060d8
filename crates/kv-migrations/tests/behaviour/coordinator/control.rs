//! Pausing, resuming and cancelling.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join;
use kv_migrations::clock::Clock;
use kv_migrations::coordinator::{Caller, Coordinator, CoordinatorError, RunOutcome};
use kv_migrations::{Budget, State};

use crate::object::{Object, marking};
use crate::service::{good, quiet};

/// A backfill that is in the middle of a step, or between two.
fn under_way(object: &Object) -> Coordinator {
    let coordinator = object.instance(vec![marking("001"), good("002")]);
    object.migrate(&coordinator).expect("nothing fails");
    coordinator
}

#[test]
fn a_paused_run_changes_nothing_until_it_is_resumed() {
    for milliseconds in (0..600).step_by(20) {
        let object = Object::new().with_users(100);
        let coordinator = under_way(&object);
        let status = object.serve(&coordinator, async {
            object.time.sleep(Duration::from_millis(milliseconds)).await;
            coordinator.pause("001", &Caller::default()).await
        });
        assert_eq!(status.expect("it is under way").state, State::Paused, "after {milliseconds} ms");
        let paused_at = object.marked();
        object.pass(&coordinator, Duration::from_mins(1));
        assert_eq!(object.marked(), paused_at);
        let refusal = object.migrate(&coordinator).expect_err("it is paused");
        assert!(matches!(refusal, CoordinatorError::Paused(_)), "{refusal:?}");

        // It can be resumed after a deploy, too.
        let next = object.instance(vec![marking("001"), good("002")]);
        object.serve(&next, next.resume("001", &Caller::default())).expect("it is paused");
        object.pass(&next, Duration::from_mins(1));
        assert_eq!((object.marked(), object.state(&next, "002")), (100, State::Applied));
    }
}

/// A run without a coordinator goes on from there.
#[test]
fn kv_shows_all_that_a_paused_run_has_done() {
    for milliseconds in (0..600).step_by(20) {
        let object = Object::new().with_users(100);
        let coordinator = under_way(&object);
        let paused = object.serve(&coordinator, async {
            object.time.sleep(Duration::from_millis(milliseconds)).await;
            coordinator.pause("001", &Caller::default()).await
        });
        paused.expect("it is under way");
        let entries = object.kv.entries().into_iter();
        let marker = entries.map(|(key, _)| key).find(|key| key.name == "migration_my-service_001");
        let metadata = marker.and_then(|key| key.metadata).expect("the marker has its progress");
        let progress: serde_json::Value = metadata.parse().expect("it is JSON");
        assert_eq!(progress["done"], object.marked(), "after {milliseconds} ms: {progress}");
    }
}

#[test]
fn a_cancelled_migration_is_pending_and_starts_over() {
    for milliseconds in (0..600).step_by(20) {
        let object = Object::new().with_users(100);
        let coordinator = under_way(&object);
        let status = object.serve(&coordinator, async {
            object.time.sleep(Duration::from_millis(milliseconds)).await;
            coordinator.cancel("001", &Caller::default()).await
        });
        assert_eq!(status.expect("it is under way").state, State::Pending, "after {milliseconds} ms");
        object.pass(&coordinator, Duration::from_mins(1));
        let cancelled_at = object.marked();
        assert!(cancelled_at < 100, "what it changed stays, and it goes no further");
        assert_eq!(object.marker("001"), None, "KV has no marker");
        assert_eq!(coordinator.history().expect("it can be read")[0].outcome, RunOutcome::Cancelled);

        let report = object.serve(&coordinator, coordinator.run_pending(&Caller::default().queued()));
        assert_eq!(report.expect("nothing fails").ran, ["001", "002"]);
        assert_eq!(object.marked(), 100);
    }
}

/// It could neither be resumed nor cancelled.
#[test]
fn a_run_paused_at_a_removed_migration_does_not_block_the_next_run() {
    let object = Object::new().with_users(100);
    let coordinator = under_way(&object);
    object.serve(&coordinator, coordinator.pause("001", &Caller::default())).expect("it is under way");
    let next = object.instance(vec![good("002")]);
    assert_eq!(object.migrate(&next).expect("the door is open").ran, ["002"]);
}

#[test]
fn a_rollback_can_be_cancelled() {
    let object = Object::new().with_users(100);
    let coordinator = object.instance(vec![marking("001")]);
    object.serve(&coordinator, coordinator.run_pending(&Caller::default().queued())).expect("it succeeds");
    object.serve(&coordinator, coordinator.rollback("001", &Caller::default())).expect("it begins");
    let status = object.serve(&coordinator, coordinator.cancel("001", &Caller::default()));
    assert_eq!(
        status.expect("it is under way").state,
        State::Pending,
        "it does not count as applied any more"
    );
    object
        .serve(&coordinator, coordinator.run_pending(&Caller::default().queued()))
        .expect("it is applied again");
    assert_eq!(object.marked(), 100);
}

#[test]
fn a_waiting_caller_learns_that_the_run_was_paused() {
    let object = Object::new().with_users(100);
    let coordinator = object.instance(vec![marking("001")]);
    let caller = Caller::default().queued();
    let stop = async {
        object.time.sleep(Duration::from_millis(500)).await;
        coordinator.pause("001", &Caller::default()).await.expect("it is under way");
    };
    let (result, ()) = object.serve(&coordinator, join(coordinator.run_pending(&caller), stop));
    assert!(matches!(result, Err(CoordinatorError::Paused(_))), "{result:?}");
}

#[test]
fn a_migration_that_no_run_is_at_cannot_be_stopped() {
    let object = Object::new().with_users(100);
    let coordinator = object.instance(vec![marking("001"), good("002"), quiet("003")]);
    let caller = Caller::default();
    let refused =
        |result: Result<_, CoordinatorError>| result.expect_err("there is nothing to stop").to_string();
    let not_running = refused(object.serve(&coordinator, coordinator.pause("001", &caller)));
    assert!(not_running.contains("No run is at migration 001"), "{not_running}");
    refused(object.serve(&coordinator, coordinator.cancel("001", &caller)));
    let not_paused = refused(object.serve(&coordinator, coordinator.resume("001", &caller)));
    assert!(not_paused.contains("001 is not paused"), "{not_paused}");
    let unknown = refused(object.serve(&coordinator, coordinator.pause("nobody", &caller)));
    assert!(unknown.contains("not registered"), "{unknown}");

    object.migrate(&coordinator).expect("nothing fails");
    refused(object.serve(&coordinator, coordinator.pause("002", &caller)));
    refused(object.serve(&coordinator, coordinator.resume("001", &caller)));
}

#[test]
fn an_up_in_one_piece_cannot_be_stopped() {
    let object = Object::new();
    let time = object.time.clone();
    let slow = kv_migrations::Migration::new(
        "001",
        "Takes its time",
        async move |kv: &kv_migrations::kv::Kv, (): &()| {
            time.sleep(Duration::from_secs(5)).await;
            Ok(kv.put("done", "true").await?)
        },
    );
    let coordinator = object.instance(vec![slow]);
    let stop = async {
        object.time.sleep(Duration::from_secs(1)).await;
        (
            coordinator.pause("001", &Caller::default()).await,
            coordinator.cancel("001", &Caller::default()).await,
        )
    };
    let caller = Caller::default();
    let (report, (paused, cancelled)) =
        object.serve(&coordinator, join(coordinator.run_pending(&caller), stop));
    assert!(matches!(paused, Err(CoordinatorError::NotResumable { .. })), "{paused:?}");
    assert!(matches!(cancelled, Err(CoordinatorError::NotResumable { .. })), "{cancelled:?}");
    assert_eq!(report.expect("it is not disturbed").ran, ["001"]);
}

/// While markers are copied, the object holds the lease, but no migration runs.
#[test]
fn a_paused_run_can_be_cancelled_while_its_marker_is_copied() {
    for seconds in (0..90).step_by(3) {
        let (object, is_down) = (Object::new().with_users(100), Arc::new(AtomicBool::new(true)));
        let coordinator = object.instance_on(object.refusing_markers(&is_down), vec![marking("001")]);
        object.migrate(&coordinator).expect("nothing fails");
        object.serve(&coordinator, coordinator.pause("001", &Caller::default())).expect("it is under way");
        object.pass(&coordinator, Duration::from_mins(1));
        let context = format!("after {seconds} s");
        let (state, cancelled) = object.serve(&coordinator, async {
            object.time.sleep(Duration::from_secs(seconds)).await;
            let state = coordinator.status().await.expect("it can be read")[0].state;
            (state, coordinator.cancel("001", &Caller::default()).await)
        });
        assert_eq!(state, State::Paused, "{context}");
        cancelled.expect("it is paused");
        is_down.store(false, Ordering::Relaxed);
        object.pass(&coordinator, Duration::from_hours(1));
        let history = coordinator.history().expect("it can be read");
        assert_eq!(history[0].outcome, RunOutcome::Cancelled, "{context}");
        assert_eq!(object.state(&coordinator, "001"), State::Pending, "{context}");
        object.migrate(&coordinator).expect("no run is in progress");
    }
}

/// When the run stops, it may be at the migration after the cancelled one.
#[test]
fn cancelling_keeps_the_checkpoints_of_other_migrations() {
    let mut was_applied = false;
    for milliseconds in (0..500).step_by(10) {
        let object = Object::new().with_users(100);
        let stopped = object.instance(vec![marking("002")]);
        let caller = Caller::default();
        object.migrate(&stopped).expect("nothing fails");
        object.serve(&stopped, stopped.pause("002", &caller)).expect("it is under way");
        // The migration is removed, so that another run can begin, and then added again after another one.
        object.migrate(&object.instance(vec![])).expect("there is nothing to do");

        let object = Object { budget: Budget::default(), ..object };
        let coordinator = object.instance(vec![marking("001"), marking("002")]);
        let cancel = async {
            object.time.sleep(Duration::from_millis(milliseconds)).await;
            coordinator.cancel("001", &caller).await
        };
        let (_, cancelled) = object.serve(&coordinator, join(coordinator.run_pending(&caller), cancel));
        if cancelled.is_ok_and(|status| status.state == State::Applied)
            && coordinator.history().expect("it can be read")[0].outcome == RunOutcome::Cancelled
        {
            was_applied = true;
            let status = object.status(&coordinator, "002");
            assert!(status.progress.is_some(), "after {milliseconds} ms: {status:?}");
        }
    }
    assert!(was_applied, "it never was at the next");
}

/// A later request must not undo the cancellation.
#[test]
fn a_run_that_is_being_cancelled_can_neither_be_paused_nor_resumed() {
    for is_pause in [true, false] {
        let object = Object::new().with_users(100);
        let coordinator = under_way(&object);
        let caller = Caller::default();
        let cancel = coordinator.cancel("001", &caller);
        let meddle = async {
            if is_pause {
                coordinator.pause("001", &caller).await.ok();
            } else {
                coordinator.resume("001", &caller).await.expect_err("it is not paused");
            }
        };
        object.serve(&coordinator, async {
            // Wait until the next step is in progress.
            let before = object.marked();
            while object.marked() == before {
                object.time.sleep(Duration::from_millis(10)).await;
            }
            join(cancel, meddle).await.0.expect("it is under way");
        });
        object.pass(&coordinator, Duration::from_hours(1));
        let history = coordinator.history().expect("it can be read");
        assert_eq!(history[0].outcome, RunOutcome::Cancelled, "is_pause: {is_pause}");
    }
}
