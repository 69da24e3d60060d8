//! The steps of a run.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use kv_migrations::clock::Clock;
use kv_migrations::coordinator::{Caller, CoordinatorError, RunOutcome};
use kv_migrations::kv::Request;
use kv_migrations::testing::VirtualTime;
use kv_migrations::{BoxFuture, Error, State};

use crate::object::{Object, marking};
use crate::service::{failing, good, ids};
use crate::stores::Refusing;

#[test]
fn a_run_that_fits_in_one_step_is_answered_as_finished() {
    let object = Object::new();
    let coordinator = object.instance(vec![good("001"), good("002")]);
    let report = object.migrate(&coordinator).expect("they succeed");
    assert_eq!(report.ran, ids(&["001", "002"]));
    assert!(report.is_finished());
    assert_eq!(object.kv.value("done/002").unwrap(), b"true");

    let again = object.migrate(&coordinator).expect("there is nothing to do");
    assert_eq!((again.ran, again.skipped), (ids(&[]), ids(&["001", "002"])));
    assert_eq!(again.operations, 1, "the markers are listed");
}

#[test]
fn a_status_costs_no_kv_operation() {
    let object = Object::new();
    let coordinator = object.instance(vec![good("001")]);
    object.migrate(&coordinator).expect("it succeeds");
    let before = object.kv.operations();
    assert_eq!(object.state(&coordinator, "001"), State::Applied);
    assert_eq!(object.kv.operations(), before);
}

#[test]
fn alarms_continue_a_run_that_does_not_fit_in_one_step() {
    let object = Object::new().with_users(100);
    let coordinator = object.instance(vec![marking("001"), good("002")]);
    let first = object.migrate(&coordinator).expect("nothing fails");
    assert_eq!(first.remaining, ids(&["001", "002"]));
    assert!(first.retry_after.is_some(), "alarms carry on");
    let progress = object.status(&coordinator, "001").progress.expect("it is under way");
    assert!((1..100).contains(&progress.done), "{progress:?}");

    object.pass(&coordinator, Duration::from_mins(1));
    assert_eq!(object.marked(), 100);
    assert_eq!(object.state(&coordinator, "001"), State::Applied);
    assert_eq!(object.kv.value("done/002").unwrap(), b"true", "and what is behind it");
    assert_eq!(object.storage.alarm(), None, "nothing is left to be done");
}

/// KV takes one write a second to a marker. The object's rows can be written at any time.
#[test]
fn a_run_of_many_short_steps_waits_for_nothing_between_them() {
    let object = Object::new().with_users(999);
    let (store, markers) = (object.kv.clone(), Arc::new(Mutex::new(Vec::new())));
    let (time, written) = (object.time.clone(), markers.clone());
    let refuses = move |request: Request<'_>| {
        if matches!(request, Request::Put { .. }) && request.key().starts_with("migration_") {
            written.lock().expect("nobody panics").push(time.now());
        }
        false
    };
    let coordinator = object.instance_on(Refusing { store, refuses }, vec![marking("001")]);
    let start = object.time.now();
    let report = object.serve(&coordinator, coordinator.run_pending(&Caller::default().queued()));
    let report = report.expect("nothing fails");
    assert_eq!((report.is_finished(), object.marked()), (true, 999));

    let took = object.time.now().duration_since(start).expect("time goes on");
    let history = coordinator.history().expect("it can be read");
    let [run] = &*history else { unreachable!("one run: {history:?}") };
    let (steps, stepping) = (run.steps, Duration::from_millis(run.duration_ms));
    assert!(steps > 50, "{steps} steps");
    assert!(stepping * 100 >= took * 95, "{steps} steps took {stepping:?} of {took:?}");

    let markers = markers.lock().expect("nobody panics");
    let pauses = markers.windows(2).map(|pair| pair[1].duration_since(pair[0]).expect("time goes on"));
    assert!(markers.len() > 3, "KV shows how far it is: {markers:?}");
    for pause in pauses {
        assert!(
            pause >= Duration::from_secs(1),
            "KV would refuse a copy of the marker {pause:?} after the one before"
        );
    }
    assert_eq!(object.marker("001").as_deref(), Some("true"), "and that it is applied");
}

#[test]
fn a_queued_caller_gets_the_report_of_all_steps() {
    let object = Object::new().with_users(100);
    let coordinator = object.instance(vec![good("001"), marking("002"), good("003")]);
    let report = object.serve(&coordinator, coordinator.run_pending(&Caller::default().queued()));
    let report = report.expect("nothing fails");
    assert_eq!(report.ran, ids(&["001", "002", "003"]));
    assert_eq!(report.skipped, ids(&[]), "what it ran itself is not skipped");
    assert_eq!(report.details.len(), 3);
    assert!(report.is_finished());
    assert!(report.operations > 100, "of all steps: {}", report.operations);
}

#[test]
fn alarms_continue_a_rollback() {
    let object = Object::new().with_users(100);
    let coordinator = object.instance(vec![marking("001")]);
    object.serve(&coordinator, coordinator.run_pending(&Caller::default().queued())).expect("it succeeds");
    let first = object.serve(&coordinator, coordinator.rollback("001", &Caller::default()));
    assert!(!first.expect("nothing fails").is_finished());
    object.pass(&coordinator, Duration::from_mins(1));
    assert_eq!(object.marked(), 0);
    assert_eq!(object.state(&coordinator, "001"), State::Pending);
    assert_eq!(object.marker("001"), None);
}

#[test]
fn a_rollback_that_is_impossible_is_refused() {
    let object = Object::new();
    let coordinator = object.instance(vec![good("001")]);
    let refused = object.serve(&coordinator, coordinator.rollback("001", &Caller::default()));
    assert!(matches!(refused, Err(CoordinatorError::Runner(Error::NotRun { .. }))), "{refused:?}");
    let refused = object.serve(&coordinator, coordinator.rollback("nobody", &Caller::default()));
    assert!(matches!(refused, Err(CoordinatorError::Runner(Error::UnknownMigration { .. }))), "{refused:?}");
    assert_eq!(coordinator.history().expect("it can be read"), []);
}

#[test]
fn a_lost_alarm_is_set_again_by_the_next_request() {
    let object = Object::new().with_users(100);
    let coordinator = object.instance(vec![marking("001")]);
    object.migrate(&coordinator).expect("nothing fails");
    object.storage.take_alarm();
    object.pass(&coordinator, Duration::from_mins(1));
    assert!(object.marked() < 100, "nobody asked");

    assert_eq!(object.state(&coordinator, "001"), State::Running);
    object.pass(&coordinator, Duration::from_mins(1));
    assert_eq!(object.marked(), 100);
}

#[test]
fn a_down_that_fails_is_in_the_status_until_the_migration_is_rolled_back() {
    let object = Object::new();
    let broken = object.instance(vec![good("001").with_down(async |_, ()| Err("boom".into()))]);
    object.migrate(&broken).expect("it succeeds");
    object.serve(&broken, broken.rollback("001", &Caller::default())).expect_err("it fails");
    let status = object.status(&broken, "001");
    assert_eq!((status.state, status.error.as_deref()), (State::Applied, Some("boom")));
    let mended = object.instance(vec![good("001").with_down(async |_, ()| Ok(()))]);
    object.serve(&mended, mended.rollback("001", &Caller::default())).expect("it is mended");
    assert_eq!(object.status(&mended, "001").error, None);
}

/// A clock that goes on between any two looks at it, as a real one does.
struct Ticking(VirtualTime);

impl Clock for Ticking {
    fn now(&self) -> SystemTime {
        self.0.advance(Duration::from_millis(1));
        self.0.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        self.0.sleep(duration)
    }
}

#[test]
fn a_lost_alarm_is_set_again_though_time_passes_between_two_looks_at_the_clock() {
    let object = Object::new().with_users(100);
    let runner = object.runner_on(object.kv.clone(), vec![marking("001")]);
    let coordinator = object.instance_of(runner.with_clock(Arc::new(Ticking(object.time.clone()))));
    object.migrate(&coordinator).expect("nothing fails");
    object.storage.take_alarm();
    object.pass(&coordinator, Duration::from_mins(1));
    assert_eq!(object.state(&coordinator, "001"), State::Running);
    assert!(object.storage.alarm().is_some(), "the step is overdue");
    object.pass(&coordinator, Duration::from_mins(1));
    assert_eq!(object.marked(), 100);
}

#[test]
fn a_caller_gets_an_answer_though_the_alarm_never_comes() {
    let object = Object::new();
    let coordinator = object.instance(vec![good("001")]);
    let began = object.time.now();
    let report = object.time.run(coordinator.run_pending(&Caller::default()));
    let time = object.time.now().duration_since(began).expect("time passes");
    assert_eq!(report.expect("nothing failed").remaining, ids(&["001"]));
    assert!(time <= Duration::from_mins(1), "{time:?}");
}

#[test]
fn an_extra_alarm_does_nothing() {
    let object = Object::new();
    let coordinator = object.instance(vec![good("001")]);
    object.migrate(&coordinator).expect("it succeeds");
    let before = object.kv.operations();
    object.time.run(coordinator.alarm()).expect("it does no harm");
    assert_eq!(object.kv.operations(), before);
    assert_eq!(object.storage.alarm(), None);
}

/// A failed migration without a checkpoint has nothing to roll back.
#[test]
fn a_rollback_of_a_failed_migration_fails_also_after_a_crash() {
    let object = Object::new();
    let is_down = Arc::new(AtomicBool::new(true));
    let store = object.refusing_markers(&is_down);
    let coordinator = object.instance_on(store, vec![failing("001")]);
    object.migrate(&coordinator).expect_err("it fails");
    // KV refuses the copy of the marker, which is retried, so that the step takes long.
    object.time.run(object.time.sleep(Duration::from_mins(1)));
    let caller = Caller::default();
    let rollback = coordinator.rollback("001", &caller);
    let answer = object.serve_for(Duration::from_secs(5), &coordinator, rollback);
    assert!(answer.is_none(), "{answer:?}");

    let next = object.instance(vec![failing("001")]);
    object.pass(&next, Duration::from_mins(1));
    let history = next.history().expect("it can be read");
    assert!(history.iter().all(|entry| entry.outcome == RunOutcome::Failed), "{history:?}");
}

#[test]
fn out_of_order_migrations_of_all_steps_are_reported() {
    let object = Object::new().with_users(100);
    object.migrate(&object.instance(vec![good("003")])).expect("it succeeds");
    let coordinator = object.instance(vec![good("001"), marking("002"), good("003"), good("004")]);
    let report = object.serve(&coordinator, coordinator.run_pending(&Caller::default().until_finished()));
    let report = report.expect("nothing fails");
    assert_eq!((report.ran, report.skipped), (ids(&["001", "002", "004"]), ids(&["003"])));
    assert_eq!(report.out_of_order, ids(&["001", "002"]));
}
